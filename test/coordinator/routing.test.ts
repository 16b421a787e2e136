import t from 'tap';
import { inventoryOf } from '../../coordinator/model/mirror.js';
import type { Alternative } from '../../coordinator/model/route.js';
import { choose, chooseAgain, type Wish } from '../../coordinator/routing/choose.js';
import type { SiteOutlook } from '../../coordinator/routing/outlook.js';
import type { NodeId } from '../../shared/ids.js';
import type { PlaceName, StepSpec } from '../../shared/job-spec/spec.js';
import { NO_LIMITS } from '../../shared/limits.js';
import type { PoolSpec } from '../../shared/pool.js';
import { anInventory, oneStep } from '../kit/builders.js';
import { Scenario } from '../kit/scenario.js';

const SECOND_MS = 1_000;
const MINUTE_MS = 60_000;
const HOUR_MS = 60 * MINUTE_MS;

/** A target that starts after a time, null for nobody knows, runs a minute and costs something. */
function there(target: PlaceName, startMs: number | null, pricePerHour = 0): Alternative {
  const doneAt = startMs === null ? null : startMs + MINUTE_MS;
  return { target, startAt: startMs, doneAt, isUsable: true, pricePerHour, ground: '' };
}

const away = (target: PlaceName): Alternative => ({ ...there(target, null), isUsable: false });
const time: Wish = { prefer: 'time', dueAt: null, now: 0 };
const price: Wish = { prefer: 'price', dueAt: null, now: 0 };
const due = (dueAt: number): Wish => ({ ...price, dueAt });

t.test('the best target is taken, with the reason', (t) => {
  const table: [string, Alternative[], Wish, PlaceName, RegExp][] = [
    ['room now', [there('hpc/a', HOUR_MS), there('pool/b', 0)], time, 'pool/b', /room now/],
    ['soonest', [there('hpc/a', HOUR_MS), there('pool/b', MINUTE_MS)], time, 'pool/b', /soonest, in 1m/],
    ['as named, at any price', [there('pool/b', 0, 5), there('hpc/a', 0, 1)], time, 'pool/b', /room now/],
    ['as named', [there('pool/b', 0), there('hpc/a', 2 * SECOND_MS)], time, 'pool/b', /room now/],
    ['a known time', [there('hpc/a', null), there('pool/b', HOUR_MS)], time, 'pool/b', /soonest/],
    ['not what is away', [away('hpc/a'), there('pool/b', null)], time, 'pool/b', /only one/],
    ['something', [away('hpc/a'), away('pool/b')], time, 'hpc/a', /none can be used/],
    ['cheapest', [there('pool/b', 0, 2), there('hpc/a', HOUR_MS, 1)], price, 'hpc/a', /cheapest, 1 an hour/],
    ['in time', [there('pool/b', 0, 2), there('hpc/a', HOUR_MS, 1)], due(HOUR_MS), 'pool/b', /by the deadline, 2/],
    ['cheap in time', [there('pool/b', 0, 2), there('hpc/a', 1, 1)], due(HOUR_MS), 'hpc/a', /by the deadline, 1/],
    ['late anyway', [there('pool/b', 0, 2), there('hpc/a', HOUR_MS, 1)], due(1), 'pool/b', /^none is done by/],
    ['a price of unknown time', [there('pool/b', 0, 2), there('hpc/a', null, 1)], due(HOUR_MS), 'pool/b', /deadline/],
  ];
  for (const [name, alternatives, wish, target, because] of table) {
    t.match(choose(alternatives, wish), { target, because }, name);
  }
  t.end();
});

t.test('what waits moves for a marked gain only', (t) => {
  const table: [string, Alternative[], Wish, PlaceName | undefined][] = [
    ['a little sooner', [there('pool/b', 60_000), there('hpc/a', 40_000)], time, undefined],
    ['much sooner', [there('pool/b', 3 * MINUTE_MS), there('hpc/a', 0)], time, 'hpc/a'],
    ['a tenth of long', [there('pool/b', HOUR_MS), there('hpc/a', 54 * MINUTE_MS)], time, undefined],
    ['the present one is away', [away('pool/b'), there('hpc/a', HOUR_MS)], time, 'hpc/a'],
    ['the other one is away', [there('pool/b', HOUR_MS), away('hpc/a')], time, undefined],
    ['nobody knows', [there('pool/b', HOUR_MS), there('hpc/a', null)], time, undefined],
    ['known at last', [there('pool/b', null), there('hpc/a', HOUR_MS)], time, 'hpc/a'],
    ['cheaper', [there('pool/b', 0, 2), there('hpc/a', HOUR_MS, 1)], price, 'hpc/a'],
    ['not cheaper', [there('pool/b', HOUR_MS, 1), there('hpc/a', 0, 1)], price, undefined],
    ['late here', [there('pool/b', HOUR_MS, 1), there('hpc/a', 0, 2)], due(2 * MINUTE_MS), 'hpc/a'],
    ['late everywhere', [there('pool/b', HOUR_MS, 1), there('hpc/a', HOUR_MS, 2)], due(1), undefined],
  ];
  for (const [name, alternatives, wish, target] of table) {
    t.equal(chooseAgain(alternatives, wish, 'pool/b')?.target, target, name);
  }
  t.end();
});

const whole = { cpuMillis: 4_000 };
const stop = { signal: 'SIGTERM', graceMs: 0 };
const BOTH: readonly PlaceName[] = ['pool/small', 'hpc/lab'];
const IDLE: SiteOutlook = { pricePerCoreHour: 0, trouble: null, estimate: { by: 'Slurm', waitMs: 0 } };

/** A cluster with a node in the pool `small` and a batch system `hpc/lab`, whose scheduler says what the test says. */
function aCluster() {
  const site = { ...IDLE };
  const cluster = new Scenario({ outlook: () => site });
  cluster.join('n1', { inventory: anInventory({ labels: { pool: 'small' } }) });
  cluster.join('hpc/lab', { inventory: inventoryOf('hpc/lab', 2) });
  const say = (parts: Partial<SiteOutlook>): void => {
    Object.assign(site, parts);
    cluster.when({ type: 'outlookChanged' });
  };
  const waits = (waitMs: number): void => say({ estimate: { by: 'Slurm', waitMs } });
  const fill = (timeLimitMs: number): void => {
    cluster.submit(oneStep({ targets: ['pool/small'], resources: whole, timeLimitMs, stop }));
  };
  return { cluster, say, waits, fill };
}

function choosing(parts: Partial<StepSpec> = {}) {
  return oneStep({ targets: BOTH, timeLimitMs: 10 * MINUTE_MS, ...parts, resources: whole });
}

/** Where the tasks of a job are, and where those that wait go. */
function whereIs(cluster: Scenario, jobId: string): string {
  const step = cluster.job(jobId)?.steps.get('main');
  const placed = [...cluster.view.allocations.values()].filter(({ ref }) => ref.jobId === jobId);
  const waiting = step && step.counts.queued > 0 ? [`waits for ${step.route?.target}`] : [];
  return [...placed.map(({ nodeId }) => nodeId), ...waiting].join(', ');
}

t.test('a node that is warm comes first; when it is busy for long, the batch system', (t) => {
  const { cluster, waits } = aCluster();
  cluster.submit(choosing());
  t.strictSame(cluster.types(), ['job.submitted', 'step.routed', 'allocation.committed']);
  t.equal(whereIs(cluster, 'j1'), 'n1');
  waits(MINUTE_MS);
  cluster.submit(choosing());
  t.equal(whereIs(cluster, 'j2'), 'hpc/lab', 'a minute there, ten here');
  const [routed] = cluster.events.filter((event) => event.type === 'step.routed');
  t.match(routed, {
    because: 'soonest, in 1m',
    alternatives: [
      { target: 'pool/small', ground: 'room in 10m, when what is before it has run' },
      { target: 'hpc/lab', ground: 'Slurm estimates 1m' },
    ],
  });
  waits(3 * HOUR_MS);
  cluster.submit(choosing());
  t.equal(whereIs(cluster, 'j3'), 'waits for pool/small', 'three hours there');
  t.end();
});

t.test('a deadline takes the cheap target as long as it is early enough', (t) => {
  const { cluster, say } = aCluster();
  say({ pricePerCoreHour: 1 });
  cluster.submit(choosing()).submit(choosing({ deadlineMs: HOUR_MS }));
  t.equal(whereIs(cluster, 'j2'), 'waits for pool/small', 'here it costs nothing, and there is time');
  cluster.submit(choosing({ deadlineMs: 25 * MINUTE_MS }));
  t.equal(whereIs(cluster, 'j3'), 'hpc/lab', 'behind the two it would be late');
  cluster.submit(choosing({ prefer: 'price' }));
  t.equal(whereIs(cluster, 'j4'), 'waits for pool/small');
  cluster.after(55 * MINUTE_MS);
  t.equal(whereIs(cluster, 'j2'), 'hpc/lab', 'what runs here is late itself, so that there is no time left');
  t.end();
});

t.test('a batch system that cannot be asked, or takes nothing, is left out', (t) => {
  const { cluster, say, fill } = aCluster();
  fill(10 * HOUR_MS);
  say({ trouble: 'cannot be asked (unavailable): no controller' });
  cluster.submit(choosing());
  t.equal(whereIs(cluster, 'j2'), 'waits for pool/small');
  say({ trouble: null });
  t.equal(whereIs(cluster, 'j2'), 'hpc/lab', 'it is back');
  cluster.when({ type: 'cordonNode', nodeId: 'hpc/lab' as NodeId, reason: 'maintenance', by: 'tester' });
  cluster.submit(choosing());
  t.equal(whereIs(cluster, 'j3'), 'waits for pool/small');
  t.end();
});

t.test('a quota that is used up here leads elsewhere', (t) => {
  const limits = { ...NO_LIMITS, users: new Map([['tester', { cpuMillis: 4_500 }]]) };
  const cluster = new Scenario({ limits, outlook: () => IDLE });
  for (const name of ['n1', 'n2']) cluster.join(name, { inventory: anInventory({ labels: { pool: 'small' } }) });
  cluster.join('hpc/lab', { inventory: inventoryOf('hpc/lab', 2) });
  cluster.submit(choosing()).submit(choosing());
  t.equal(whereIs(cluster, 'j1'), 'n1');
  t.equal(whereIs(cluster, 'j2'), 'hpc/lab');
  t.end();
});

t.test('what has been placed stays, whatever becomes better', (t) => {
  const { cluster, waits, fill } = aCluster();
  fill(HOUR_MS);
  cluster.submit(choosing());
  t.equal(whereIs(cluster, 'j2'), 'hpc/lab');
  waits(10 * HOUR_MS);
  cluster.exits('j1.0#1').after(MINUTE_MS);
  t.equal(whereIs(cluster, 'j2'), 'hpc/lab', 'it is in a queue there, and in no other');
  t.end();
});

t.test('an array takes the room that is there, and what is left goes where it is done sooner', (t) => {
  const { cluster } = aCluster();
  cluster.submit(choosing({ array: '0-2' })).after(MINUTE_MS);
  t.equal(whereIs(cluster, 'j1'), 'n1, hpc/lab, hpc/lab');
  t.end();
});

t.test('without an estimate the queue is as long as it was before', (t) => {
  const { cluster, say, fill } = aCluster();
  fill(HOUR_MS);
  say({ estimate: null });
  cluster.submit(choosing());
  t.equal(whereIs(cluster, 'j2'), 'waits for pool/small', 'nobody knows it yet');
  cluster.cancel('j2').submit(oneStep({ targets: ['hpc/lab'] }));
  cluster.when({
    type: 'submitMirror',
    tag: 't',
    indexOffset: 0,
    allocationIds: [...cluster.view.index.usage('hpc/lab' as NodeId).live],
  });
  cluster.after(2 * MINUTE_MS).reports('j3.0#1', 'running');
  cluster.submit(choosing());
  t.equal(whereIs(cluster, 'j4'), 'hpc/lab');
  t.match(cluster.job('j4')?.steps.get('main')?.route?.alternatives[1], { ground: 'a job there usually waits 2m' });
  t.end();
});

t.test('machines that are suspended, or would have to be made, are counted by their times', (t) => {
  const { cluster, waits } = aCluster();
  const spec: PoolSpec = {
    ...{ name: 'big', provider: { kind: 'fake', settings: {} }, min: 0, max: 1, quota: null, fallback: [] },
    node: { ...anInventory(), drivers: ['process'], labels: { pool: 'big' }, attributes: {} },
    ...{ warm: { kind: 'nodes', count: 0 }, idleMs: 1_000, onIdle: 'suspend', predeploy: 0, exclusive: false },
    ...{ prices: { onPerHour: 2, suspendedPerHour: 0 }, times: { bootMs: 41_000, resumeMs: 14_000, offMs: 1_000 } },
  };
  cluster.when({ type: 'definePool', spec, by: 'tester' });
  waits(3 * HOUR_MS);
  cluster.submit(choosing({ targets: ['hpc/lab', 'pool/big'] }));
  t.equal(whereIs(cluster, 'j1'), 'waits for pool/big');
  t.match(cluster.job('j1')?.steps.get('main')?.route, {
    because: 'soonest, in 41s',
    alternatives: [{}, { ground: 'booting a machine of big takes 41s', pricePerHour: 2 }],
  });
  cluster.after(SECOND_MS);
  t.ok(cluster.view.instances.size === 1, 'a machine is ordered for it');
  t.end();
});

t.test('a target that could never run it is refused by its name', (t) => {
  const { cluster } = aCluster();
  cluster.submit(choosing({ targets: ['pool/smal', 'hpc/lab'] }));
  t.match(cluster.reply, {
    refused: 'impossible-resources',
    problems: [{ field: 'steps[0].targets[0]', message: /pool/ }],
  });
  t.end();
});
