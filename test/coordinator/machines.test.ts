import t from 'tap';
import { placesNow } from '../../coordinator/elastic/policy/places.js';
import { JoinTickets } from '../../coordinator/gateway/join-tickets.js';
import { applyEvent } from '../../coordinator/model/apply.js';
import { type BerthEvent, EVENT_VERSION } from '../../coordinator/model/events.js';
import { describeObstacle, obstacleTo } from '../../coordinator/model/feasible.js';
import { restore, serialize } from '../../coordinator/model/snapshot.js';
import { type ClusterState, emptyState } from '../../coordinator/model/state.js';
import { agentClosed } from '../../coordinator/rules/agent-closed.js';
import { agentJoined } from '../../coordinator/rules/agent-joined.js';
import { machinesListed } from '../../coordinator/rules/machines-listed.js';
import type { RuleContext } from '../../coordinator/rules/rule.js';
import { present } from '../../shared/assert.js';
import type { AllocationId, InstanceId, JobId, NodeId } from '../../shared/ids.js';
import { NO_LIMITS } from '../../shared/limits.js';
import type { PoolSpec } from '../../shared/pool.js';
import { aHello, aJob, anInventory, aStep } from '../kit/builders.js';

const instanceId = 'i1' as InstanceId;
const nodeId = 'small-1' as NodeId;
const CONTEXT: RuleContext = { now: 0, policy: { nodeLeaseMs: 30_000, limits: NO_LIMITS } as RuleContext['policy'] };
const MINUTE_MS = 60_000;

const POOL: PoolSpec = {
  name: 'small',
  provider: { kind: 'fake', settings: {} },
  node: { ...anInventory(), drivers: ['process'], labels: {}, attributes: {} },
  ...{ min: 0, max: 2, warm: { kind: 'nodes', count: 0 }, idleMs: 1_000, onIdle: 'suspend', predeploy: 0 },
  ...{ exclusive: false, fallback: [], prices: { onPerHour: 0, suspendedPerHour: 0 }, quota: null },
  times: { bootMs: 60_000, resumeMs: 20_000, offMs: 10_000 },
};

const JOINING: readonly BerthEvent[] = [
  { type: 'instance.requested', instanceId, sequence: 1, pool: 'small', nodeId, why: 'demand' },
  { type: 'instance.booting', instanceId, ref: 'm-1' },
  {
    ...{ type: 'node.registered', nodeId, identity: 'disk-1', version: '1', bootId: 'b' },
    inventory: anInventory({ labels: { pool: 'small' } }),
  },
  { type: 'node.connected', nodeId },
  { type: 'instance.joined', instanceId },
];

function stateAfter(events: readonly BerthEvent[], spec: PoolSpec = POOL): ClusterState {
  const state = emptyState();
  for (const event of [{ type: 'pool.defined', spec, by: 'test' } as const, ...events]) apply(state, event, 0);
  return state;
}

function apply(state: ClusterState, event: BerthEvent, at: number): void {
  applyEvent(state, { seq: state.lastSeq + 1, at, version: EVENT_VERSION, event });
}

const CLOSING: BerthEvent = { type: 'instance.closing', instanceId, to: 'suspend', reason: 'idle' };

t.test('a machine is switched off when its node has confirmed the newest asking, and not before', (t) => {
  const state = stateAfter([...JOINING, CLOSING, { type: 'instance.reopened', instanceId, why: 'demand' }, CLOSING]);
  const confirm = (closing: number) => agentClosed(state, { type: 'agentClosed', nodeId, closing }, CONTEXT);
  t.match(confirm(1), { events: [] }, 'the node was needed again after the first asking');
  t.match(confirm(2), { events: [{ type: 'instance.stopping', instanceId, to: 'suspend' }] });
  t.end();
});

t.test('a ticket is good for its machine, and for the first agent that comes with it', (t) => {
  const join = (state: ClusterState, identity: string) =>
    agentJoined(state, { type: 'agentJoined', hello: aHello(nodeId, { identity }), hasTicket: true }, CONTEXT);
  t.match(join(stateAfter([]), 'disk-1'), { refused: 'forbidden', detail: /has been given up/ });
  t.match(join(stateAfter(JOINING.slice(0, 2)), 'disk-1'), { events: [{ type: 'node.registered' }, {}] });
  t.match(join(stateAfter(JOINING), 'disk-1'), { events: [{}, { type: 'node.connected' }] });
  t.match(join(stateAfter(JOINING), 'disk-2'), { refused: 'forbidden', detail: /used by another machine/ });
  const tickets = new JoinTickets('key');
  t.equal(tickets.nodeOf(tickets.issue(nodeId)), nodeId);
  t.equal(new JoinTickets('another key').nodeOf(tickets.issue(nodeId)), undefined);
  t.equal(tickets.nodeOf(tickets.issue(nodeId).replace('small-1', 'small-2')), undefined);
  t.end();
});

t.test('a machine that nobody knows is terminated, and one that is missing is believed in for a while', (t) => {
  const state = stateAfter(JOINING.slice(0, 2));
  const stray = { ref: 'm-9', instanceId: 'i9' as InstanceId, pool: 'small', state: 'running' } as const;
  const seen = (askedAt: number) =>
    machinesListed(state, { type: 'machinesListed', pool: 'small', machines: [stray], askedAt }, CONTEXT);
  t.match(seen(1_000), { events: [], effects: [{ kind: 'orphan', pool: 'small', ref: 'm-9' }] });
  t.match(seen(MINUTE_MS), { events: [{ type: 'instance.terminated', instanceId }] });
  t.end();
});

t.test('nodes of an exclusive pool hold only tasks that ask for a node to themselves', (t) => {
  const state = stateAfter(JOINING, { ...POOL, exclusive: true });
  const nodeClass = () => present(state.nodes.get(nodeId), 'node').nodeClass;
  const sharing = state.classes.demandOf(aStep());
  const obstacle = present(obstacleTo(sharing, nodeClass()), 'obstacle');
  t.match(describeObstacle(obstacle), /one task at a time.*--exclusive/);
  t.equal(obstacleTo(state.classes.demandOf(aStep({ exclusive: true })), nodeClass()), undefined);
  t.equal(serialize(restore(serialize(state))), serialize(state));
  t.match(restore(serialize(state)).nodes.get(nodeId), { nodeClass: { exclusive: true } });
  apply(state, { type: 'pool.defined', spec: POOL, by: 'test' }, 1);
  t.equal(obstacleTo(sharing, nodeClass()), undefined, 'and of one that is not so any more all');
  t.end();
});

t.test('a task that outlives what was learnt of its kind is expected to take as long as it is late', (t) => {
  const state = stateAfter(JOINING);
  const jobId = 'j1' as JobId;
  const allocationId = 'j1.0#1' as AllocationId;
  const spec = aJob({ steps: [aStep({ timeLimitMs: MINUTE_MS })] });
  apply(state, { type: 'job.submitted', jobId, sequence: 1, spec, by: 'ann' }, 0);
  apply(state, { type: 'allocation.committed', allocationId, nodeId, gpus: [] }, 0);
  apply(state, { type: 'allocation.started', allocationId, startedAt: 0 }, 0);
  const endAt = (now: number) => placesNow(state, now)[0]?.releases[0]?.at;
  t.equal(endAt(0), MINUTE_MS);
  t.equal(endAt(10 * MINUTE_MS), 19 * MINUTE_MS);
  t.end();
});
