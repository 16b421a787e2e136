import Type from 'typebox';
import { listSecrets, removeSecret, rotateSecretsKey, secretSchema, setSecret } from '../../service/secrets.js';
import { answers, nothing, type RouteContext, type Server } from '../context.js';
import { granted } from '../problem.js';
import { validatorFor } from '../validation.js';

const params = Type.Object({
  namespace: Type.String({ description: 'The namespace whose jobs may have it.' }),
  name: Type.String({ description: "The secret's name." }),
});

const done = (description: string) => ({ 204: Type.Null({ description }), ...answers(Type.Null()) });

export function secretRoutes(server: Server, { service }: RouteContext): void {
  server.get(
    '/v1/secrets',
    {
      schema: {
        summary: 'List secrets; their values are never shown',
        querystring: nothing,
        response: answers(Type.Object({ secrets: Type.Array(secretSchema) })),
      },
    },
    async () => ({ secrets: listSecrets(service()) }),
  );
  server.delete(
    '/v1/secrets/:namespace/:name',
    { schema: { summary: 'Remove a secret', params, querystring: nothing, response: done('Removed.') } },
    async ({ params: secret }, reply) => {
      granted(await removeSecret(service(), secret));
      return reply.code(204).send(null);
    },
  );
  server.post(
    '/v1/secrets/rotate-key',
    {
      schema: {
        summary: 'Seal all secrets under a new key, or under the first of those that were configured',
        querystring: nothing,
        body: nothing,
        response: answers(Type.Object({ secretCount: Type.Integer({ minimum: 0 }) })),
      },
    },
    async () => ({ secretCount: await rotateSecretsKey(service()) }),
  );
}

/** A scope of its own: only here a body is plain bytes, so that no parser's message ever quotes a value. */
export function secretValueRoute(server: Server, { service }: RouteContext): void {
  server.removeAllContentTypeParsers();
  server.addContentTypeParser('*', { parseAs: 'buffer' }, (_request, body, parsed) => parsed(null, body));
  server.put(
    '/v1/secrets/:namespace/:name',
    {
      schema: {
        summary: 'Set a secret; the body is its value',
        consumes: ['application/octet-stream'],
        params,
        querystring: nothing,
        body: Type.String({ format: 'binary' }),
        response: done('Set.'),
      },
      validatorCompiler: (part) => (part.httpPart === 'body' ? () => true : validatorFor(part)),
    },
    async ({ params: secret, body, caller }, reply) => {
      const bytes: unknown = body;
      const value = bytes instanceof Uint8Array ? bytes : new Uint8Array(0);
      granted(await setSecret(service(), secret, { value, by: caller.name }));
      return reply.code(204).send(null);
    },
  );
}
