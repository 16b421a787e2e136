import t from 'tap';
import { ordersOf } from '../../coordinator/engine/orders.js';
import { MAX_REJECTIONS } from '../../coordinator/model/rejection.js';
import { explainStep } from '../../coordinator/scheduler/explain.js';
import { explainCapacity } from '../../coordinator/scheduler/explain-capacity.js';
import { present } from '../../shared/assert.js';
import { awayAttribute } from '../../shared/driver-away.js';
import type { AllocationId, JobId, NodeId } from '../../shared/ids.js';
import { NO_LIMITS } from '../../shared/limits.js';
import { exitCodeOf, RETRYABLE_ENDS } from '../../shared/outcome.js';
import { aJob, anInventory, aStep, gpus, oneStep } from '../kit/builders.js';
import { LEASE_MS, Scenario } from '../kit/scenario.js';

function whyWaiting(cluster: Scenario, jobId: string) {
  const job = present(cluster.job(jobId), 'job');
  const step = present(job.steps.get('main'), 'step');
  return explainStep(cluster.view, { job, step }, { limits: NO_LIMITS, now: cluster.clock.now() });
}

const SUCCEEDED = { kind: 'succeeded' };

t.test('a job lives its whole life: submitted, placed, prepared, run, finished', (t) => {
  const cluster = new Scenario().join('n1').submit(aJob());
  t.strictSame(cluster.reply, { kind: 'job', jobId: 'j1', isNew: true });
  t.strictSame(cluster.types(), ['job.submitted', 'allocation.committed'], 'one batch from submission to placement');
  t.strictSame(cluster.effects, [{ kind: 'start', nodeId: 'n1', allocationId: 'j1.0#1' }]);
  t.strictSame(cluster.reports('j1.0#1', 'preparing').types(), ['allocation.preparing']);
  t.strictSame(cluster.reports('j1.0#1', 'running').types(), ['allocation.started']);
  t.strictSame(cluster.exits('j1.0#1').types(), ['allocation.ended', 'task.finished', 'job.finished']);
  t.match(cluster.job('j1')?.phase, { kind: 'finished', outcome: 'succeeded' });
  t.end();
});

t.test('the same idempotency key gives the same job for a day, finished or not, and refuses another request', (t) => {
  const key = { value: 'k', digest: 'a' };
  const cluster = new Scenario().join('n1').submit(aJob(), key).exits('j1.0#1');
  t.strictSame(cluster.submit(aJob(), key).reply, { kind: 'job', jobId: 'j1', isNew: false });
  t.equal(cluster.submit(aJob(), { value: 'k', digest: 'b' }).refusal(), 'key-reused');
  cluster.after(24 * 3_600_000);
  t.strictSame(cluster.submit(aJob(), key).reply, { kind: 'job', jobId: 'j2', isNew: true });
  t.end();
});

t.test('a step is blocked until the steps that it needs have succeeded', (t) => {
  const steps = [aStep({ name: 'a', array: '0-1' }), aStep({ name: 'b' }), aStep({ name: 'c', needs: ['a', 'b'] })];
  const cluster = new Scenario().join('n1').submit(aJob({ steps }));
  t.equal(cluster.job('j1')?.steps.get('c')?.counts.blocked, 1);
  cluster.exits('j1.a.0#1').exits('j1.b.0#1');
  t.equal(cluster.job('j1')?.steps.get('c')?.counts.blocked, 1, 'one task of a is left');
  t.strictSame(cluster.exits('j1.a.1#1').types(), [
    'allocation.ended',
    'task.finished',
    'step.released',
    'allocation.committed',
  ]);
  t.strictSame(cluster.exits('j1.c.0#1').all('job.finished')[0]?.outcome, 'succeeded');
  t.end();
});

t.test('when a needed step fails its dependants are dropped with that reason, down the whole chain', (t) => {
  const steps = [aStep({ name: 'a' }), aStep({ name: 'b', needs: ['a'] }), aStep({ name: 'c', needs: ['b'] })];
  const cluster = new Scenario().join('n1').submit(aJob({ steps })).exits('j1.a.0#1', 3);
  t.strictSame(
    cluster.all('step.swept').map(({ step, outcome }) => [step, outcome]),
    [
      ['b', { kind: 'dropped', reason: 'step "a" failed: j1.a.0 exited with 3' }],
      ['c', { kind: 'dropped', reason: 'step "b" was dropped' }],
    ],
  );
  t.match(cluster.job('j1')?.phase, { kind: 'finished', outcome: 'failed' });
  t.end();
});

t.test('a GPU that turns bad takes nothing new, what runs on it goes on, and a good one is used again', (t) => {
  const needsGpu = oneStep({ resources: { gpus: { count: 1, model: null, minMemoryMiB: null } } });
  const offers = (fault?: string) => ({
    type: 'inventoryChanged' as const,
    nodeId: 'n1' as NodeId,
    inventory: anInventory({ gpus: gpus(1, fault === undefined ? {} : { fault }) }),
  });
  const cluster = new Scenario().join('n1', { inventory: offers().inventory }).submit(needsGpu);
  cluster.reports('j1.0#1', 'running');
  t.strictSame(cluster.when(offers()).types(), [], 'the same inventory is nothing new');
  t.strictSame(cluster.when(offers('it must be reset')).types(), ['node.registered']);
  t.strictSame(cluster.effects, [], 'nothing is stopped');
  t.equal(cluster.allocation('j1.0#1')?.phase.kind, 'running');
  t.strictSame(cluster.submit(needsGpu).types(), ['job.submitted'], 'it may come back');
  const demand = cluster.job('j2')?.steps.get('main')?.demand;
  t.match(demand && explainCapacity(cluster.view, demand).message, /needs 1 GPU, it has 1 x .* \(out of use\)/);
  const two = oneStep({ resources: { gpus: { count: 2, model: null, minMemoryMiB: null } } });
  t.equal(cluster.submit(two).refusal(), 'impossible-resources', 'even if it comes back');
  t.strictSame(cluster.exits('j1.0#1').types(), ['allocation.ended', 'task.finished', 'job.finished']);
  t.strictSame(cluster.when(offers()).types(), ['node.registered', 'allocation.committed']);
  t.strictSame(cluster.when({ ...offers(), nodeId: 'unknown' as NodeId }).types(), []);
  t.end();
});

t.test('a step that is doomed along two paths is dropped once, and the job finishes once', (t) => {
  const steps = [
    aStep({ name: 'a' }),
    aStep({ name: 'b', needs: ['a'] }),
    aStep({ name: 'c', needs: ['a', 'b'] }),
    aStep({ name: 'd', needs: ['b', 'c'] }),
  ];
  const cluster = new Scenario().join('n1').submit(aJob({ steps })).exits('j1.a.0#1', 1);
  t.strictSame(
    cluster.all('step.swept').map(({ step }) => step),
    ['b', 'c', 'd'],
  );
  t.equal(cluster.all('job.finished').length, 1);
  t.end();
});

t.test('retry: a failed attempt is tried again after its back-off, until the attempts are spent', (t) => {
  const retry = { maxAttempts: 2, backoffMs: 1_000, on: ['exited'] } as const;
  const cluster = new Scenario().join('n1').submit(oneStep({ retry })).exits('j1.0#1', 1);
  t.strictSame(cluster.types(), ['allocation.ended', 'task.requeued'], 'nothing is placed before the back-off ends');
  t.strictSame(cluster.after(1_000).types(), ['allocation.committed']);
  t.strictSame(cluster.exits('j1.0#2', 1).types(), ['allocation.ended', 'task.finished', 'job.finished']);
  t.end();
});

t.test('an attempt of a node whose lease ended is lost and requeued; with maxAttempts 1 it is not', (t) => {
  const cluster = new Scenario().join('n1');
  cluster.submit(aJob()).submit(oneStep({ retry: { maxAttempts: 1, backoffMs: 0, on: ['lost'] } }));
  cluster.when({ type: 'agentSilent', nodeId: 'n1' as NodeId });
  t.strictSame(cluster.after(LEASE_MS - 1).types(), [], 'believed until the lease ends');
  cluster.after(1);
  t.strictSame(
    cluster.all('allocation.ended').map(({ allocationId, end }) => [allocationId, end.kind]),
    [
      ['j1.0#1', 'lost'],
      ['j2.0#1', 'lost'],
    ],
  );
  t.equal(cluster.all('task.requeued').length, 1);
  t.match(cluster.job('j2')?.phase, { kind: 'finished', outcome: 'failed' });
  t.equal(cluster.node('n1')?.link.kind, 'lost');
  t.end();
});

t.test('a lease that was renewed by a reconnection loses nothing', (t) => {
  const cluster = new Scenario().join('n1').submit(aJob());
  cluster.when({ type: 'agentSilent', nodeId: 'n1' as NodeId }).after(LEASE_MS / 2);
  cluster.join('n1', { held: [{ allocationId: 'j1.0#1' as never, phase: 'running', ageMs: 5 }] });
  t.strictSame(cluster.types(), ['node.connected', 'allocation.started']);
  t.strictSame(cluster.after(LEASE_MS).types(), []);
  t.end();
});

t.test('a restart of the coordinator starts every lease anew', (t) => {
  const cluster = new Scenario().join('n1').submit(aJob());
  cluster.after(10 * LEASE_MS).when({ type: 'coordinatorStarted' });
  t.strictSame(cluster.types(), ['node.suspected']);
  t.strictSame(cluster.after(LEASE_MS - 1).types(), []);
  t.end();
});

t.test('cancel sweeps what waits, stops what runs, and nothing of the job starts anew', (t) => {
  const cluster = new Scenario().join('n1').submit(oneStep({ array: '0-9', resources: { cpuMillis: 2_000 } }));
  cluster.cancel('j1', 'wrong input');
  t.strictSame(cluster.types(), [
    'job.cancelRequested',
    'step.swept',
    'allocation.stopRequested',
    'allocation.stopRequested',
  ]);
  t.strictSame(
    cluster.effects.map((effect) => effect.kind),
    ['stop', 'stop'],
  );
  cluster.reports('j1.0#1', 'ended', { kind: 'stopped', reason: 'canceled', ranMs: 1 });
  t.notOk(cluster.types().includes('allocation.committed'));
  cluster.exits('j1.1#1');
  t.match(cluster.job('j1')?.phase, { kind: 'finished', outcome: 'canceled', reason: 'wrong input' });
  t.equal(cluster.job('j1')?.steps.get('main')?.counts.succeeded, 1, 'a task that made it anyway has succeeded');
  t.equal(cluster.cancel('j1').refusal(), 'conflict');
  t.equal(cluster.cancel('j9').refusal(), 'not-found');
  t.end();
});

t.test('a stale attempt reports in vain and is told to stop', (t) => {
  const cluster = new Scenario().join('n1').submit(aJob());
  cluster.when({ type: 'agentSilent', nodeId: 'n1' as NodeId }).after(LEASE_MS);
  cluster.join('n2').after(10_000);
  t.equal(cluster.allocation('j1.0#2')?.nodeId, 'n2', 'replaced elsewhere');
  cluster.reportsFrom('n1', 'j1.0#1', { phase: 'running' });
  t.strictSame(cluster.types(), []);
  t.strictSame(cluster.effects, [{ kind: 'stop', nodeId: 'n1', allocationId: 'j1.0#1' }]);
  cluster.reportsFrom('n1', 'j1.0#1', { phase: 'ended', end: { kind: 'exited', exitCode: 0, ranMs: 1 } });
  t.strictSame([cluster.types(), cluster.effects], [[], []], 'its late success changes nothing');
  cluster.reportsFrom('n1', 'j1.0#2', { phase: 'running' });
  t.strictSame(cluster.types(), [], 'a node speaks only of its own allocations');
  t.end();
});

t.test('an agent that comes back without a running allocation has lost it', (t) => {
  const cluster = new Scenario().join('n1').submit(aJob()).reports('j1.0#1', 'running').join('n1');
  t.strictSame(cluster.all('allocation.ended')[0]?.end.kind, 'lost');
  t.end();
});

t.test('an agent that comes back without a committed allocation is simply told again', (t) => {
  const cluster = new Scenario().join('n1').submit(aJob()).join('n1', { bootId: 'boot-2' });
  t.strictSame(cluster.types(), ['node.registered', 'node.connected']);
  t.equal(cluster.allocation('j1.0#1')?.phase.kind, 'committed');
  t.end();
});

t.test('one name is one machine: the second is refused while the first may still run something', (t) => {
  const cluster = new Scenario().join('n1').submit(aJob());
  t.equal(cluster.join('n1', { identity: 'other' }).refusal(), 'name-taken');
  cluster.when({ type: 'agentSilent', nodeId: 'n1' as NodeId });
  t.equal(cluster.join('n1', { identity: 'other' }).refusal(), 'name-taken', 'its allocation is still believed');
  cluster.after(LEASE_MS);
  t.equal(
    cluster.join('n1', { identity: 'other' }).refusal(),
    undefined,
    'a reinstalled machine may take its name back',
  );
  t.equal(cluster.join('n2', { identity: 'other' }).refusal(), 'name-taken', 'one state directory is one node');
  t.end();
});

t.test('drain takes nothing new, stops what is left at the deadline, requeues it, and ends when empty', (t) => {
  const n1 = 'n1' as NodeId;
  const cluster = new Scenario().join('n1').submit(aJob()).reports('j1.0#1', 'running').join('n2');
  cluster.when({ type: 'drainNode', nodeId: n1, reason: 'new disk', deadlineMs: 5_000, by: 'tester' });
  t.equal(cluster.submit(aJob()).all('allocation.committed')[0]?.nodeId, 'n2');
  t.strictSame(cluster.after(5_000).types(), ['allocation.stopRequested']);
  cluster.reports('j1.0#1', 'ended', { kind: 'stopped', reason: 'drained', ranMs: 5_000 });
  t.strictSame(cluster.types(), ['allocation.ended', 'task.requeued', 'node.drained', 'allocation.committed']);
  t.equal(cluster.all('task.requeued')[0]?.spentAttempts, 0, 'no retry is spent');
  t.match(cluster.node('n1')?.intake, { kind: 'drained', reason: 'new disk' });
  t.strictSame(cluster.when({ type: 'openNode', nodeId: n1, by: 'tester' }).types(), ['node.opened']);
  t.end();
});

t.test('a task that had more on disk than it asked for has failed for good, as its exit code tells', (t) => {
  const retry = { maxAttempts: 3, backoffMs: 0, on: [...RETRYABLE_ENDS] };
  const cluster = new Scenario().join('n1').submit(aJob({ steps: [aStep({ retry })] }));
  cluster.reports('j1.0#1', 'ended', { kind: 'stopped', reason: 'disk', ranMs: 9 });
  const outcome = cluster.all('task.finished')[0]?.outcome;
  t.match(outcome, { kind: 'failed', end: { reason: 'disk' } });
  t.equal(outcome && exitCodeOf(outcome), 143);
  t.end();
});

t.test('an order says that its cores are pinned, where they are', (t) => {
  const resources = { cpuMillis: 2_000, pinCpus: true as const };
  const cluster = new Scenario().join('n1').submit(oneStep({ resources })).submit(oneStep());
  const orders = ordersOf(cluster.view);
  t.equal(orders.startOrder('j1.0#1' as AllocationId)?.pinCpus, true);
  t.equal(orders.startOrder('j2.0#1' as AllocationId)?.pinCpus, undefined);
  t.end();
});

t.test('two deadlines of one drain that pass together stop a task once', (t) => {
  const cluster = new Scenario().join('n1').submit(aJob()).reports('j1.0#1', 'running');
  for (const deadlineMs of [1_000, 2_000]) {
    cluster.when({ type: 'drainNode', nodeId: 'n1' as NodeId, reason: 'x', deadlineMs, by: 'tester' });
  }
  t.strictSame(cluster.after(3_000).types(), ['allocation.stopRequested']);
  t.end();
});

t.test('an agent that departs with work drains first', (t) => {
  const n1 = 'n1' as NodeId;
  const cluster = new Scenario().join('n1').submit(aJob()).when({ type: 'agentDeparting', nodeId: n1, reason: 'bye' });
  t.equal(cluster.node('n1')?.intake.kind, 'draining');
  cluster.exits('j1.0#1').when({ type: 'agentDeparting', nodeId: n1, reason: 'bye' });
  t.equal(cluster.node('n1')?.link.kind, 'departed');
  t.end();
});

t.test('a held job waits; holding a running one starts nothing more; releasing goes on', (t) => {
  const jobId = 'j1' as JobId;
  const cluster = new Scenario().join('n1').submit(aJob({ hold: true }));
  t.strictSame(cluster.types(), ['job.submitted']);
  t.strictSame(cluster.when({ type: 'releaseJob', jobId }).types(), ['job.released', 'allocation.committed']);
  cluster.when({ type: 'holdJob', jobId }).exits('j1.0#1');
  t.match(cluster.job('j1')?.phase, { kind: 'finished', outcome: 'succeeded' }, 'what runs may finish');
  t.equal(cluster.when({ type: 'holdJob', jobId }).refusal(), 'conflict');
  t.end();
});

t.test('what no node could ever hold is refused at once, by name, unless the job waits for future nodes', (t) => {
  const cluster = new Scenario();
  t.equal(cluster.submit(oneStep({ resources: { cpuMillis: 64_000 } })).refusal(), undefined, 'nothing is known yet');
  cluster.join('n1').submit(oneStep({ resources: { cpuMillis: 64_000 } }));
  t.match(cluster.reply, { refused: 'impossible-resources', detail: /n1: needs 64 CPUs, it has 4/ });
  cluster.submit(oneStep({ driver: 'docker', image: 'busybox' }));
  t.match(cluster.reply, { refused: 'impossible-resources', detail: /no docker driver/ });
  cluster.submit(oneStep({ resources: { cpuMillis: 64_000 } }, { allowFutureNodes: true }));
  t.equal(cluster.refusal(), undefined);
  const capacity = { cpuMillis: 64_000, memoryMiB: 8_192, diskMiB: 0 };
  t.equal(cluster.join('big', { inventory: anInventory({ capacity }) }).all('allocation.committed').length, 1);
  t.end();
});

t.test(
  'what waits for a driver that is away is not impossible, and says since when; what is so anyway is refused',
  (t) => {
    const away = awayAttribute('docker', Date.parse('2026-01-02T03:04:05Z'));
    const inventory = anInventory({ attributes: away });
    const container = { driver: 'docker', image: 'busybox' } as const;
    const cluster = new Scenario()
      .join('n1', { inventory })
      .submit(oneStep({ ...container, array: '0-1', gang: true }));
    t.strictSame(cluster.types(), ['job.submitted'], 'a gang waits too');
    t.strictSame(cluster.submit(oneStep(container)).types(), ['job.submitted']);
    const demand = present(cluster.job('j2')?.steps.get('main')?.demand, 'demand');
    t.match(explainCapacity(cluster.view, demand), {
      code: 'unavailable',
      message: 'no fitting node is ready: n1: its docker is away since 2026-01-02T03:04:05Z',
    });
    const large = oneStep({ ...container, resources: { cpuMillis: 64_000 } });
    t.equal(cluster.submit(large).refusal(), 'impossible-resources');
    const back = {
      type: 'inventoryChanged',
      nodeId: 'n1' as NodeId,
      inventory: anInventory({ drivers: ['docker'] }),
    } as const;
    t.equal(cluster.when(back).all('allocation.committed').length, 3);
    t.end();
  },
);

t.test('what nodes reject spends no retry: other nodes first, longer pauses, and an end that is stated', (t) => {
  const rejected = { kind: 'rejected', message: 'the registry is away' } as const;
  const cluster = new Scenario().join('n1').submit(aJob()).join('n2');
  t.equal(cluster.allocation('j1.0#1')?.nodeId, 'n1');
  const pauses: number[] = [];
  for (let attempt = 1; attempt < MAX_REJECTIONS; attempt += 1) {
    const [requeued] = cluster.reports(`j1.0#${attempt}`, 'ended', rejected).all('task.requeued');
    t.match(requeued, { spentAttempts: 0, rejectedAttempts: attempt });
    pauses.push(present(requeued?.notBefore, 'pause') - cluster.clock.now());
    if (attempt === 3)
      t.match(whyWaiting(cluster, 'j1'), {
        code: 'backoff',
        message: /^retries in 20 s, after rejection 3 of at most 50, by n1 \(the registry is away\)$/,
      });
    const [next] = cluster.after(pauses.at(-1) ?? 0).all('allocation.committed');
    t.equal(next?.nodeId, attempt % 2 === 1 ? 'n2' : 'n1', 'the other node is preferred');
  }
  t.strictSame(pauses.slice(0, 4), [5_000, 10_000, 20_000, 40_000]);
  t.equal(Math.max(...pauses), 15 * 60_000);
  t.strictSame(cluster.reports(`j1.0#${MAX_REJECTIONS}`, 'ended', rejected).types(), [
    'allocation.ended',
    'task.finished',
    'job.finished',
  ]);
  t.match(cluster.job('j1')?.phase, { kind: 'finished', outcome: 'failed' });
  t.end();
});

t.test('rejections are final where a job has one attempt or does not want them tried again', (t) => {
  const rejected = { kind: 'rejected', message: 'no' } as const;
  for (const retry of [
    { maxAttempts: 1, backoffMs: 0, on: RETRYABLE_ENDS },
    { maxAttempts: 9, backoffMs: 0, on: ['lost'] },
  ] as const) {
    const cluster = new Scenario().join('n1').submit(oneStep({ retry })).reports('j1.0#1', 'ended', rejected);
    t.match(cluster.job('j1')?.phase, { kind: 'finished', outcome: 'failed' });
  }
  t.end();
});

t.test('a connected node or one that holds work cannot be removed', (t) => {
  const removeNode = { type: 'removeNode', nodeId: 'n1' as NodeId, by: 'tester' } as const;
  const cluster = new Scenario().join('n1').submit(aJob());
  t.equal(cluster.when(removeNode).refusal(), 'conflict');
  cluster.when({ type: 'agentSilent', nodeId: 'n1' as NodeId });
  t.equal(cluster.when(removeNode).refusal(), 'conflict', 'its allocation is still believed');
  cluster.after(LEASE_MS);
  t.strictSame(cluster.when(removeNode).types(), ['node.removed']);
  t.end();
});

t.test('a million-task array is one record until its tasks are placed', (t) => {
  const cluster = new Scenario().join('n1').submit(oneStep({ array: '1-1000000' }));
  const step = cluster.job('j1')?.steps.get('main');
  t.match(step?.counts, { queued: 999_996, placed: 4 });
  t.equal(step?.untouched.length, 1);
  cluster.exits('j1.1#1');
  t.match(cluster.job('j1')?.steps.get('main')?.tasks.get(1)?.phase, { kind: 'done', outcome: SUCCEEDED });
  t.end();
});
