import t from 'tap';
import { serialize } from '../../coordinator/model/snapshot.js';
import { gpuMix, strandedGpus } from '../../coordinator/scheduler/fragmentation.js';
import { DEFAULT_PLAN_POLICY } from '../../coordinator/scheduler/plan.js';
import { predictStart } from '../../coordinator/scheduler/predict.js';
import { rehearse } from '../../coordinator/scheduler/rehearse.js';
import { ImmediatePricing } from '../../coordinator/scheduler/worth/pricing.js';
import type { AllocationId } from '../../shared/ids.js';
import type { JobSpec } from '../../shared/job-spec/spec.js';
import { NO_LIMITS } from '../../shared/limits.js';
import { aJob, anInventory, aStep, gpus, oneStep } from '../kit/builders.js';
import { Session } from '../kit/client-session.js';
import { startServer, TOKEN } from '../kit/http-server.js';
import { Scenario } from '../kit/scenario.js';

const MINUTE_MS = 60_000;
const stop = { signal: 'SIGTERM', graceMs: 0 };
const whole = { cpuMillis: 4_000 };

function predicted(cluster: Scenario, jobId: string, step = 'main') {
  const job = cluster.job(jobId);
  const found = job?.steps.get(step);
  const policy = { limits: NO_LIMITS, now: cluster.clock.now() };
  return job && found && predictStart(cluster.view, { job, step: found }, policy);
}

t.test('a start is predicted from time limits, with its ground', (t) => {
  const cluster = new Scenario().join('n1');
  const limited = (minutes: number): JobSpec => oneStep({ resources: whole, timeLimitMs: minutes * MINUTE_MS, stop });
  cluster.submit(limited(10)).reports('j1.0#1', 'running');
  const begun = cluster.clock.now();
  cluster
    .submit(limited(5))
    .submit(limited(3))
    .after(4 * MINUTE_MS);
  t.strictSame(predicted(cluster, 'j2'), { ground: 'reservation', startAt: begun + 10 * MINUTE_MS, nodeId: 'n1' });
  const behind = { ground: 'behind', taskCount: 1, startAt: begun + 15 * MINUTE_MS, nodeId: 'n1' };
  t.strictSame(predicted(cluster, 'j3'), behind);
  t.equal(predicted(cluster, 'j1'), undefined, 'it runs');
  cluster.submit(aJob({ hold: true }));
  t.match(predicted(cluster, 'j4'), { ground: 'reason', reason: { code: 'held' }, startAt: null });
  cluster.after(7 * MINUTE_MS);
  t.match(predicted(cluster, 'j2'), { startAt: cluster.clock.now() }, 'what is beyond its limit ends at once');
  t.end();
});

t.test('behind something without a time limit there is no time', (t) => {
  const cluster = new Scenario()
    .join('n1')
    .submit(oneStep({ resources: whole }))
    .submit(oneStep({ resources: whole }));
  t.strictSame(predicted(cluster, 'j2'), { ground: 'unknown', startAt: null });
  t.end();
});

t.test('behind very many tasks there is no time either', (t) => {
  const cluster = new Scenario().join('n1');
  cluster.submit(oneStep({ array: '0-1999', resources: whole, timeLimitMs: MINUTE_MS }));
  cluster.submit(oneStep({}));
  t.strictSame(predicted(cluster, 'j2'), { ground: 'behind', taskCount: 1_000, startAt: null });
  t.end();
});

t.test('a rehearsal places or says why not, and changes nothing', (t) => {
  const limits = { ...NO_LIMITS, licences: new Map([['matlab', 1]]) };
  const cluster = new Scenario({ limits })
    .join('n1')
    .join('n2')
    .submit(oneStep({ array: '0-2' }));
  const before = serialize(cluster.view);
  const options = {
    policy: { ...DEFAULT_PLAN_POLICY, limits },
    pricing: new ImmediatePricing(),
    now: cluster.clock.now(),
  };
  const run = (spec: JobSpec) =>
    rehearse(cluster.view, { spec, by: 'tester' }, options).map(({ step, placed, reason }) => [
      step.name,
      Object.fromEntries(placed),
      reason?.message,
    ]);
  t.strictSame(run(oneStep({ array: '0-3' })), [['main', { n1: 1, n2: 3 }, undefined]]);
  t.strictSame(run(oneStep({ array: '0-5' })), [
    ['main', { n1: 1, n2: 4 }, 'waits for 1 CPU (0 free) on n1 or on 1 other node'],
  ]);
  t.strictSame(run(oneStep({ array: '0-5', maxParallel: 2 })), [
    ['main', { n1: 1, n2: 1 }, 'runs 2 tasks at once, as maxParallel says'],
  ]);
  t.strictSame(run(oneStep({ array: '0-1', resources: { licences: { matlab: 1 } } })), [
    ['main', { n1: 1 }, 'waits for 1 licence "matlab" (1 of 1 in use)'],
  ]);
  t.strictSame(run(aJob({ steps: [aStep({ name: 'a' }), aStep({ name: 'b', needs: ['a'] })] })), [
    ['a', { n1: 1 }, undefined],
    ['b', {}, 'waits for step a'],
  ]);
  t.equal(serialize(cluster.view), before);
  t.end();
});

t.test('free GPU that no task of the mix could use is stranded, by what it lacks', (t) => {
  const inventory = anInventory({ gpus: gpus(2) });
  const gpu = { count: 1, model: null, minMemoryMiB: null };
  const cluster = new Scenario().join('n1', { inventory }).join('n2', { inventory });
  cluster.submit(oneStep({ resources: { cpuMillis: 2_000, gpus: gpu } }));
  const of = () => strandedGpus(cluster.view, gpuMix(cluster.view)).map(({ node, ...rest }) => [node.id, rest]);
  const none = { cpu: 0, memory: 0, disk: 0, pieces: 0, unfit: 0 };
  t.strictSame(of(), [
    ['n1', { freeMillis: 1_000, strandedMillis: 0, byCause: none }],
    ['n2', { freeMillis: 2_000, strandedMillis: 0, byCause: none }],
  ]);
  cluster.submit(oneStep({ array: '0-2', resources: { cpuMillis: 2_000, gpus: null } }));
  t.strictSame(of(), [
    ['n2', { freeMillis: 2_000, strandedMillis: 2_000, byCause: { ...none, cpu: 2_000 } }],
    ['n1', { freeMillis: 1_000, strandedMillis: 1_000, byCause: { ...none, cpu: 1_000 } }],
  ]);
  t.end();
});

t.test('when, plan and nodes --fragmentation ask the coordinator', async (t) => {
  const server = await startServer();
  t.teardown(() => server.close());
  const client = async (...argv: string[]): Promise<string> => {
    const session = new Session({ url: server.url, token: TOKEN });
    const exitCode = await session.run(...argv);
    return exitCode === 0 ? session.stdout : `${exitCode} ${session.stderr}`;
  };
  await server.join('n1');
  await server.submit({ command: ['a'], resources: { cpus: 3 }, timeLimit: '10m' });
  await server.submit({ command: ['a'], resources: { cpus: 2 } });
  t.match(await client('when', 'j2'), /main +1 +20\d\d-\d\d-\d\d .* +n1 +next on n1, when what runs there/);
  t.equal(await client('when', 'j1'), 'no task of j1 waits; it is active\n');
  t.match(await client('plan', '--count', '3', '--', 'true'), /main +3 +1 +n1:1 +waits for 1 CPU \(0 free\) on n1/);
  t.match(await client('plan', '-c', '9', '--', 'true'), /^64 berth: no node could ever hold/);
  t.match(await client('plan', '--licence', 'x=1', '--', 'true'), /the cluster has no licence "x"/);
  t.match(await client('nodes', '--fragmentation'), /^all +0 +0.*\n0% of the free GPU is stranded/m);
  t.strictSame((await server.get('/v1/jobs')).body.jobs.length, 2, 'a rehearsal submits nothing');
  const yaml = await server.post('/v1/plan', 'command: [a]\n', { headers: { 'content-type': 'application/yaml' } });
  t.match(yaml, { status: 200, body: { placedCount: 1, steps: [{ nodes: [{ node: 'n1', taskCount: 1 }] }] } });
  t.equal((await server.post('/v1/plan', { command: 'x' })).status, 422);
  t.equal((await server.get('/v1/jobs/j9/when')).status, 404);
});

t.test('what a placed task waits for on its node is told until it runs, and never of others', async (t) => {
  const server = await startServer();
  t.teardown(() => server.close());
  await server.join('n1');
  await server.join('n2');
  const jobId = await server.submit({ name: 'pull', command: ['true'], resources: { cpus: 4 } });
  const allocationId = `${jobId}.0#1` as AllocationId;
  const seen = async (): Promise<readonly (object | string | null | undefined)[]> => {
    const [task] = (await server.get(`/v1/jobs/${jobId}/tasks`)).body.tasks;
    const [job] = (await server.get('/v1/jobs')).body.jobs;
    return [task?.preparation, task?.reason, job?.waitingReason];
  };
  const node = server.engine.view.allocations.get(allocationId)?.nodeId ?? '';
  t.strictSame(await seen(), [undefined, null, null]);
  server.preparing.set(node === 'n1' ? 'n2' : 'n1', [{ allocationId, preparation: { kind: 'staging' } }]);
  t.strictSame(await seen(), [undefined, null, null], 'a node does not speak for another');
  server.preparing.set(node, [{ allocationId, preparation: { kind: 'staging' } }]);
  const staging = 'preparing: staging its files in';
  t.strictSame(await seen(), [{ kind: 'staging' }, staging, staging]);
  const pull = { kind: 'pulling', image: 'lab/a:1', bytes: 47_395_635, totalBytes: 120 * 1024 ** 2 } as const;
  server.preparing.set(node, [{ allocationId, preparation: pull }]);
  const pulling = 'preparing: pulling lab/a:1 45.2MiB of 120MiB';
  t.strictSame(await seen(), [pull, pulling, pulling]);
  server.preparing.set(node, [{ allocationId, preparation: { ...pull, bytes: 0, totalBytes: 0 } }]);
  t.equal((await seen())[1], 'preparing: pulling lab/a:1', 'nothing is known of its size yet');
  await server.started(allocationId);
  t.strictSame(await seen(), [undefined, null, null], 'the sample is older than the report');
});
