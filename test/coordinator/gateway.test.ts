import t, { type Test } from 'tap';
import { Engine } from '../../coordinator/engine/engine.js';
import { orderSource } from '../../coordinator/engine/order-source.js';
import { AgentGateway } from '../../coordinator/gateway/agent-session.js';
import { TaskLogs } from '../../coordinator/gateway/task-logs.js';
import { MEMORY_LIMITS, type MemoryLimits } from '../../coordinator/model/memory-limits.js';
import { DEFAULT_PLAN_POLICY } from '../../coordinator/scheduler/plan.js';
import { ImmediatePricing } from '../../coordinator/scheduler/worth/pricing.js';
import { MemoryStore } from '../../coordinator/store/memory.js';
import type { AllocationId, JobId, NodeId } from '../../shared/ids.js';
import { NO_LIMITS } from '../../shared/limits.js';
import { silentLog } from '../../shared/log.js';
import { seededRandom } from '../../shared/random.js';
import { CLOSE } from '../../shared/wire/channel.js';
import { WIRE_LIMITS } from '../../shared/wire/limits.js';
import { type Hello, PROTOCOL_VERSION } from '../../shared/wire/messages.js';
import { aHello, anInventory, gpus, oneStep } from '../kit/builders.js';
import { ManualClock } from '../kit/manual-clock.js';
import { Peer } from '../kit/peer.js';
import { temporaryFolder } from '../kit/temporary-folder.js';
import { aChunk, anAck, ref } from '../kit/wire-samples.js';
import { SimNetwork } from '../sim/network.js';

const LEASE_MS = 60_000;
const n1 = 'n1' as NodeId;

/** The real engine and gateway over the simulator's network and a store in memory. */
async function coordinator(t: Test, memory: MemoryLimits = MEMORY_LIMITS) {
  const clock = new ManualClock();
  const network = new SimNetwork(clock, seededRandom(1));
  network.weather = { dropRate: 0, duplicateRate: 0, maxDelayMs: 1 };
  const store = new MemoryStore();
  const opening = Engine.open({
    ...{
      store,
      memory,
      clock,
      log: silentLog,
      rules: { nodeLeaseMs: LEASE_MS, limits: NO_LIMITS },
      planning: DEFAULT_PLAN_POLICY,
      pricing: new ImmediatePricing(),
    },
    perform: (effects) => gateway.perform(effects),
    onFailure: () => {},
  });
  await clock.settle();
  const engine = await opening;
  const logs = new TaskLogs({ stateDir: temporaryFolder(t), clock, log: silentLog });
  const gateway = new AgentGateway({
    ...{ engine, logs, clock, log: silentLog, version: '0.1.0' },
    orders: orderSource(engine),
  });
  const dial = (machine: string): Peer => {
    const ends = network.connect(machine);
    if (!ends) throw new Error(`${machine} is cut off`);
    gateway.accept(ends.coordinatorEnd);
    return new Peer(ends.agentEnd, clock);
  };
  const join = async (machine: string, hello: Hello): Promise<Peer> => {
    const peer = dial(machine);
    peer.say({ kind: 'hello', hello });
    await clock.advance(100);
    return peer;
  };
  const linkOf = (node: NodeId): string | undefined => engine.view.nodes.get(node)?.link.kind;
  return { clock, network, engine, gateway, logs, dial, join, linkOf };
}

t.test('an agent that says hello is welcomed, synced and connected', async (t) => {
  const { join, linkOf } = await coordinator(t);
  const agent = await join('m1', aHello('n1'));
  t.strictSame(agent.kinds.toSorted(), ['sync', 'welcome']);
  t.strictSame(agent.last('welcome')?.welcome, {
    protocol: PROTOCOL_VERSION,
    version: '0.1.0',
    heartbeatMs: WIRE_LIMITS.heartbeatMs,
  });
  t.equal(linkOf(n1), 'connected');
});

t.test(
  'a placed task becomes one order, its report is acknowledged once committed, and a stop reaches the agent',
  async (t) => {
    const { clock, engine, join } = await coordinator(t);
    const agent = await join('m1', aHello('n1'));
    const submitting = engine.handle({ type: 'submitJob', spec: oneStep({ array: '0-1' }), by: 'test' });
    await clock.advance(100);
    await submitting;
    const orders = agent.heard.filter((body) => body.kind === 'orders');
    t.equal(orders.length, 1);
    const [order] = agent.last('orders')?.orders.start ?? [];
    t.equal(agent.last('orders')?.orders.start.length, 2);
    const allocationId = order?.allocationId as AllocationId;
    let isCommitted = false;
    agent.session.send({ kind: 'reports', reports: [{ allocationId, phase: 'running', ageMs: 0 }] }, () => {
      isCommitted = engine.view.allocations.get(allocationId)?.phase.kind === 'running';
    });
    await clock.advance(100);
    t.equal(isCommitted, true);
    const canceling = engine.handle({ type: 'cancelJob', jobId: 'j1' as JobId, reason: 'enough', by: 'test' });
    await clock.advance(100);
    await canceling;
    t.strictSame(
      agent.last('orders')?.orders.stop.find((stop) => stop.allocationId === allocationId),
      { allocationId, reason: 'canceled' },
    );
  },
);

t.test('what is ordered while the agent is away comes with the sync of its next connection', async (t) => {
  const { clock, engine, network, join, linkOf } = await coordinator(t);
  const first = await join('m1', aHello('n1'));
  network.reset('m1');
  await clock.advance(100);
  t.equal(first.closed?.code, CLOSE.goingAway);
  t.equal(linkOf(n1), 'suspect');
  const submitting = engine.handle({ type: 'submitJob', spec: oneStep(), by: 'test' });
  await clock.advance(100);
  await submitting;
  const second = await join('m1', aHello('n1'));
  t.equal(second.last('sync')?.sync.start.length, 1);
  t.equal(second.last('orders'), undefined);
});

t.test('a silent stranger, and one that talks before its hello, are shown out', async (t) => {
  const { clock, dial } = await coordinator(t);
  const silent = dial('m1');
  const rude = dial('m2');
  rude.say({ kind: 'departing', reason: 'x' });
  await clock.advance(100);
  t.match(rude.closed, { code: CLOSE.protocolViolation, reason: /departing before the hello/ });
  await clock.advance(WIRE_LIMITS.handshakeMs);
  t.match(silent.closed, { code: CLOSE.protocolViolation, reason: /no hello/ });
});

t.test('an agent of a newer protocol is refused with both versions and the remedy', async (t) => {
  const { join, linkOf } = await coordinator(t);
  const agent = await join('m1', aHello('n1', { protocol: PROTOCOL_VERSION + 1, version: '9.0.0' }));
  t.strictSame(agent.last('refuse')?.refuse, {
    code: 'protocol-version',
    message:
      `agent 9.0.0 speaks protocol version ${PROTOCOL_VERSION + 1}, coordinator 0.1.0 serves 1 to ${PROTOCOL_VERSION}: ` +
      'upgrade the coordinator first',
    final: true,
  });
  t.equal(agent.closed?.code, CLOSE.refused);
  t.equal(linkOf(n1), undefined);
});

t.test('of two machines with one identity the first is kept and the second is told why', async (t) => {
  const { clock, join, linkOf } = await coordinator(t);
  const first = await join('m1', aHello('n1'));
  const clone = await join('m2', aHello('n1', { instance: 'another-process' }));
  t.match(clone.last('refuse')?.refuse, {
    code: 'identity-in-use',
    message: /delete its state directory/,
    final: false,
  });
  t.equal(clone.last('welcome'), undefined);
  await clock.advance(WIRE_LIMITS.deadAfterMs * 2);
  t.equal(first.session.isOpen, true);
  t.equal(linkOf(n1), 'connected');
});

t.test('a live node keeps its name against another agent, which must not come back by itself', async (t) => {
  const { join } = await coordinator(t);
  const first = await join('m1', aHello('n1'));
  const other = await join('m2', aHello('n1', { identity: 'another' }));
  t.match(other.last('refuse')?.refuse, { code: 'name-taken', message: /another --name/, final: true });
  t.equal(first.session.isOpen, true);
});

t.test('a restarted agent takes the place of its dead connection', async (t) => {
  const { clock, network, join, linkOf } = await coordinator(t);
  await join('m1', aHello('n1'));
  network.cut('m1');
  const second = await join('m2', aHello('n1', { instance: 'the-process-after' }));
  t.strictSame(second.heard, []);
  await clock.advance(5_100);
  t.strictSame(second.kinds.toSorted(), ['sync', 'welcome']);
  t.equal(linkOf(n1), 'connected');
});

t.test('a process that connects anew replaces its connection, and its node is never suspected', async (t) => {
  const { engine, join, linkOf } = await coordinator(t);
  const types: string[] = [];
  engine.onCommitted((events) => types.push(...events.map(({ event }) => event.type)));
  const first = await join('m1', aHello('n1'));
  const second = await join('m1', aHello('n1'));
  t.equal(first.closed?.code, CLOSE.replaced);
  t.equal(second.session.isOpen, true);
  t.equal(linkOf(n1), 'connected');
  t.strictSame(
    types.filter((type) => type === 'node.suspected'),
    [],
  );
});

t.test('a connected agent tells another inventory, and work is placed by it', async (t) => {
  const { clock, engine, join, linkOf } = await coordinator(t);
  const agent = await join('m1', aHello('n1'));
  const spec = oneStep(
    { resources: { gpus: { count: 1, model: null, minMemoryMiB: null } } },
    { allowFutureNodes: true },
  );
  const submitting = engine.handle({ type: 'submitJob', spec, by: 'test' });
  await clock.advance(100);
  await submitting;
  t.equal(agent.last('orders'), undefined);
  const inventory = anInventory({ gpus: gpus(1) });
  let isCommitted = false;
  agent.session.send({ kind: 'inventory', inventory }, () => {
    isCommitted = engine.view.nodes.get(n1)?.inventory.gpus.length === 1;
  });
  await clock.advance(100);
  t.equal(isCommitted, true, 'acknowledged when it is on disk');
  t.strictSame(agent.last('orders')?.orders.start[0]?.gpus, gpus(1));
  t.equal(linkOf(n1), 'connected');
});

t.test('the last heartbeat of a connected node can be read, with the offset of its clock', async (t) => {
  const { clock, gateway, network, join } = await coordinator(t);
  const agent = await join('m1', aHello('n1'));
  t.equal(gateway.usageOf(n1), undefined);
  const heartbeat = { cpuUsedMillis: 1, memoryUsedMiB: 2, diskFreeMiB: 3, sentAt: clock.now() + 60_000, load: 0.5 };
  agent.say({ kind: 'heartbeat', heartbeat });
  await clock.advance(1);
  t.strictSame(gateway.usageOf(n1), { heartbeat, receivedAt: clock.now(), clockOffsetMs: 59_999 });
  network.reset('m1');
  t.equal(gateway.usageOf(n1), undefined);
});

/** Waits for the disk, which the manual clock knows nothing of. */
async function untilHeard(peer: Peer, clock: ManualClock, isHeard: () => boolean): Promise<void> {
  while (!isHeard() && peer.session.isOpen) {
    await new Promise((resolve) => setTimeout(resolve, 2));
    await clock.advance(2);
  }
}

t.test('output is answered when it is on disk, and many chunks behind a gap ask for one step back', async (t) => {
  const { clock, engine, logs, join } = await coordinator(t);
  const agent = await join('m1', aHello('n1'));
  void engine.handle({ type: 'submitJob', spec: oneStep({ name: 'train' }), by: 'test' });
  await clock.advance(100);
  const acks = () => agent.heard.flatMap((body) => (body.kind === 'log-ack' ? [body.ack] : []));
  for (const offset of [10, 20, 30]) agent.session.sendLog(aChunk(offset, '0123456789'));
  await untilHeard(agent, clock, () => acks().length > 0);
  agent.session.sendLog(aChunk(0, '0123456789'));
  await untilHeard(agent, clock, () => acks().length > 1);
  agent.session.sendLog(aChunk(10, 'end', { last: true }));
  await untilHeard(agent, clock, () => acks().length > 2);
  t.strictSame(acks(), [anAck(0), anAck(10), anAck(13, { complete: true })]);
  t.equal(await logs.isComplete(ref, 'stdout'), true);
});

t.test('a node cannot write the output of what is not its own; it may throw it away', async (t) => {
  const { clock, engine, logs, join } = await coordinator(t);
  await join('m1', aHello('n1'));
  void engine.handle({ type: 'submitJob', spec: oneStep({ name: 'train' }), by: 'test' });
  await clock.advance(100);
  const intruder = await join('m2', aHello('n2'));
  intruder.session.sendLog(aChunk(0, 'forged', { last: true }));
  await untilHeard(intruder, clock, () => intruder.last('log-ack') !== undefined);
  t.equal(intruder.last('log-ack')?.ack.complete, true);
  t.equal(await logs.size(ref, 'stdout'), 0);
});

t.test('output that comes after its attempt has left memory is still written, for its own node alone', async (t) => {
  const { clock, engine, logs, join } = await coordinator(t, { doneTasks: 0, finishedJobs: 0 });
  const agent = await join('m1', aHello('n1'));
  void engine.handle({ type: 'submitJob', spec: oneStep({ name: 'train' }), by: 'test' });
  await clock.advance(100);
  const [allocationId] = engine.view.allocations.keys();
  const end = { end: { kind: 'exited', exitCode: 0, ranMs: 1 }, stdoutBytes: 8, stderrBytes: 0 } as const;
  const report = { allocationId: allocationId as AllocationId, phase: 'ended', ageMs: 0, end } as const;
  void engine.handleAll([
    { type: 'agentReported', nodeId: n1, report },
    { type: 'submitJob', spec: oneStep(), by: 'test' },
  ]);
  // Before the end of the attempt is on disk: the answer waits for it.
  agent.session.sendLog(aChunk(0, 'the '));
  agent.session.sendLog(aChunk(4, 'end.', { last: true }));
  await untilHeard(agent, clock, () => agent.last('log-ack')?.ack.complete === true);
  t.equal(engine.view.jobs.has('j1' as JobId), false);
  t.equal(Buffer.from(await logs.read(ref, 'stdout', 0, 99)).toString(), 'the end.');
  const intruder = await join('m2', aHello('n2'));
  intruder.session.sendLog(aChunk(0, 'forged', { stream: 'stderr', last: true }));
  await untilHeard(intruder, clock, () => intruder.last('log-ack') !== undefined);
  t.equal(await logs.size(ref, 'stderr'), 0);
});

t.test('an agent that departs leaves its node departed, and a stopping coordinator says farewell', async (t) => {
  const { clock, gateway, join, linkOf } = await coordinator(t);
  const agent = await join('m1', aHello('n1'));
  agent.say({ kind: 'departing', reason: 'scaled in' });
  await clock.advance(100);
  t.equal(linkOf(n1), 'departed');
  gateway.close();
  await clock.advance(100);
  t.equal(agent.closed?.code, CLOSE.goingAway);
});
