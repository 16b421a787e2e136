import { Ajv2020 } from 'ajv/dist/2020.js';
import t from 'tap';
import { startServer } from '../kit/http-server.js';

const ROUTES = [
  'delete /v1/nodes/{name}',
  'delete /v1/pools/{name}',
  'delete /v1/secrets/{namespace}/{name}',
  'get /healthz',
  'get /openapi.json',
  'get /v1/artifacts/{sha256}',
  'get /v1/events',
  'get /v1/fragmentation',
  'get /v1/jobs',
  'get /v1/jobs/{id}',
  'get /v1/jobs/{id}/logs',
  'get /v1/jobs/{id}/outputs',
  'get /v1/jobs/{id}/receipt',
  'get /v1/jobs/{id}/spec',
  'get /v1/jobs/{id}/tasks',
  'get /v1/jobs/{id}/tasks/{task}',
  'get /v1/jobs/{id}/tasks/{task}/logs',
  'get /v1/jobs/{id}/when',
  'get /v1/jobs/{id}/why',
  'get /v1/nodes',
  'get /v1/nodes/{name}',
  'get /v1/openapi.json',
  'get /v1/pools',
  'get /v1/pools/{name}',
  'get /v1/report',
  'get /v1/secrets',
  'get /v1/whoami',
  'post /v1/artifacts',
  'post /v1/jobs',
  'post /v1/jobs/{id}/cancel',
  'post /v1/jobs/{id}/hold',
  'post /v1/jobs/{id}/release',
  'post /v1/nodes/{name}/cordon',
  'post /v1/nodes/{name}/drain',
  'post /v1/nodes/{name}/open',
  'post /v1/plan',
  'post /v1/pools/{name}/cordon',
  'post /v1/pools/{name}/disable',
  'post /v1/pools/{name}/enable',
  'post /v1/pools/{name}/scale',
  'post /v1/secrets/rotate-key',
  'put /v1/artifacts/{sha256}',
  'put /v1/pools/{name}',
  'put /v1/secrets/{namespace}/{name}',
];

/** One answer of each kind: the route, a request, and the status to expect. */
const SAMPLES = [
  ['get /healthz', '/healthz', 200],
  ['get /v1/whoami', '/v1/whoami', 200],
  ['get /v1/jobs', '/v1/jobs', 200],
  ['get /v1/jobs/{id}', '/v1/jobs/j1', 200],
  ['get /v1/jobs/{id}/tasks', '/v1/jobs/j1/tasks', 200],
  ['get /v1/jobs/{id}/tasks/{task}', '/v1/jobs/j1/tasks/1', 200],
  ['get /v1/jobs/{id}/why', '/v1/jobs/j1/why', 200],
  ['get /v1/jobs/{id}/when', '/v1/jobs/j1/when', 200],
  ['get /v1/jobs/{id}/outputs', '/v1/jobs/j1/outputs', 200],
  ['get /v1/fragmentation', '/v1/fragmentation', 200],
  ['get /v1/nodes', '/v1/nodes', 200],
  ['get /v1/nodes/{name}', '/v1/nodes/n1', 200],
  ['get /v1/nodes/{name}', '/v1/nodes/n2', 'default'],
  ['get /v1/secrets', '/v1/secrets', 200],
  ['get /v1/pools', '/v1/pools', 200],
  ['get /v1/report', '/v1/report?since=1d', 200],
  ['get /v1/jobs/{id}/receipt', '/v1/jobs/j1/receipt', 200],
  ['get /v1/pools/{name}', '/v1/pools/small', 200],
  ['get /v1/jobs', '/v1/jobs?limit=0', 'default'],
] as const;

interface Content {
  readonly content?: Readonly<Record<string, { readonly schema: object }>>;
}

interface Operation {
  readonly parameters?: readonly { readonly in: string; readonly name: string }[];
  readonly requestBody?: Content;
  readonly responses: Readonly<Record<string, Content>>;
}

type Paths = Readonly<Record<string, Readonly<Record<string, Operation>>>>;

function operationsOf(paths: Paths): Map<string, Operation> {
  const operations = Object.entries(paths).flatMap(([path, item]) =>
    Object.entries(item).map(([method, operation]) => [`${method} ${path}`, operation] as const),
  );
  return new Map(operations.sort(([left], [right]) => (left < right ? -1 : 1)));
}

const newAjv = (): Ajv2020 => new Ajv2020({ strict: false, formats: { 'date-time': /^\d{4}-\d\d-\d\dT[\d:.]+Z$/ } });

t.test('the OpenAPI document covers every route with its parameters, bodies and problems', async (t) => {
  const server = await startServer();
  t.teardown(() => server.close());
  const document = JSON.parse((await server.get('/v1/openapi.json')).text) as { readonly paths: Paths };
  t.match(document, { openapi: /^3\.1\./, info: { title: 'Berth', version: '0.1.0-test' }, security: [{ token: [] }] });
  const operations = operationsOf(document.paths);
  t.strictSame([...operations.keys()], ROUTES);
  const ajv = newAjv();
  for (const [route, { parameters = [], requestBody, responses }] of operations) {
    const inPath = parameters.filter((parameter) => parameter.in === 'path').map(({ name }) => name);
    t.strictSame(
      inPath,
      [...route.matchAll(/\{(\w+)\}/g)].map(([, name]) => name),
      route,
    );
    t.ok(responses.default?.content?.['application/problem+json'], `${route} can end in a problem`);
    for (const part of [requestBody, ...Object.values(responses)]) {
      for (const { schema } of Object.values(part?.content ?? {})) t.doesNotThrow(() => ajv.compile(schema), route);
    }
  }
  const accepted = Object.keys(operations.get('post /v1/jobs')?.requestBody?.content ?? {});
  t.strictSame(accepted, ['application/json', 'application/yaml']);
});

t.test('answers are as the OpenAPI document says, with no field that it leaves out', async (t) => {
  const server = await startServer();
  t.teardown(() => server.close());
  const { paths } = JSON.parse((await server.get('/openapi.json')).text) as { readonly paths: Paths };
  const operations = operationsOf(paths);
  await server.join('n1');
  await server.submit({ array: '1-9', command: ['true'] });
  await server.ended('j1.1#1', { kind: 'start-failed', message: 'no such program' });
  await server.send('PUT', '/v1/pools/small', {
    body: { provider: 'process', node: { cpus: 4, memory: '8GiB' }, max: 2, warm: 1 },
  });
  const ajv = newAjv();
  for (const [route, path, status] of SAMPLES) {
    const [content] = Object.values(operations.get(route)?.responses[status]?.content ?? {});
    const isValid = ajv.compile(closed(content?.schema));
    t.ok(isValid((await server.get(path)).body), `${path}: ${ajv.errorsText(isValid.errors)}`);
  }
});

/** The schema with every object closed, so that a field that it does not describe is found. */
function closed(schema: unknown): object {
  if (Array.isArray(schema)) return schema.map(closed);
  if (typeof schema !== 'object' || schema === null) return schema as unknown as object;
  const copy = Object.fromEntries(Object.entries(schema).map(([key, value]) => [key, closed(value)]));
  return 'properties' in copy && !('additionalProperties' in copy) ? { ...copy, additionalProperties: false } : copy;
}
