import t from 'tap';
import { accepted } from '../../agent/supervise/attempts.js';
import { AppError } from '../../shared/errors.js';
import { fakeOutput } from '../fakes/fake-driver.js';
import { anInventory, gpus } from '../kit/builders.js';
import { CALM, fakeOrder, idOf, Rig } from './rig.js';

const id = idOf(1);

/** A connected agent. */
async function connected(): Promise<Rig> {
  const rig = new Rig();
  rig.boot();
  await rig.pass(50);
  return rig;
}

t.test('a task costs two reports, and is forgotten when the coordinator has the second', async (t) => {
  const rig = await connected();
  t.match(rig.coordinator.hellos[0], { identity: 'identity-of-n1', bootId: 'boot-1', held: [] });
  rig.coordinator.start(fakeOrder(id, { SIM_RUN_MS: '300', SIM_EXIT: '7' }));
  await rig.pass(1_000);
  t.strictSame(rig.coordinator.phases(id), ['running', 'ended']);
  t.match(rig.coordinator.ends.get(id), { kind: 'exited', exitCode: 7, ranMs: 300 });
  t.strictSame([...(await rig.store.open()).attempts.keys()], []);
  t.strictSame(rig.machine.ended(), [], 'nothing of it is left on the machine');
});

t.test('ages are told, and a slow preparation is told too', async (t) => {
  const rig = await connected();
  rig.coordinator.start(fakeOrder(id, { SIM_START_MS: '1000', SIM_RUN_MS: '60000' }));
  await rig.pass(3_000);
  t.strictSame(rig.coordinator.phases(id), ['preparing', 'running']);
  rig.network.reset('n1');
  await rig.pass(1_000);
  const [held] = rig.coordinator.hellos.at(-1)?.held ?? [];
  t.match(held, { allocationId: id, phase: 'running' });
  t.ok(held && held.ageMs > 1_900 && held.ageMs < 3_100 && held.startedAgeMs === held.ageMs);
});

t.test('an end tells how long the start took', async (t) => {
  const rig = await connected();
  rig.coordinator.start(fakeOrder(id, { SIM_START_MS: '1000', SIM_RUN_MS: '10' }));
  await rig.pass(3_000);
  t.strictSame(rig.coordinator.usages.get(id), { startedMs: 1_000 });
});

t.test('an agent that dies at any moment starts each task once and brings its one end and its output', async (t) => {
  for (let diesAtMs = 0; diesAtMs <= 90; diesAtMs += 3) {
    const rig = await connected();
    rig.coordinator.start(fakeOrder(id, { SIM_RUN_MS: '40', SIM_EXIT: '3', SIM_OUTPUT_BYTES: '100000' }));
    await rig.pass(diesAtMs);
    rig.crash();
    await rig.pass(20);
    rig.boot();
    await rig.pass(2_000);
    const { ends, output } = rig.coordinator;
    t.strictSame(ends.get(id), { kind: 'exited', exitCode: 3, ranMs: 40 }, `dies after ${diesAtMs} ms`);
    t.equal(rig.machine.startCounts.get(id), 1);
    t.ok(output.get(id)?.equals(fakeOutput(0, 100_000)), 'the output is whole');
    t.equal((await rig.store.open()).attempts.size, 0, 'and nothing is held on to');
    rig.crash();
  }
});

t.test('tasks go on and their ends are kept while there is no coordinator', async (t) => {
  const rig = await connected();
  rig.coordinator.start(fakeOrder(id, { SIM_RUN_MS: '1000' }));
  await rig.pass(100);
  rig.network.cut('n1');
  rig.network.reset('n1');
  await rig.pass(120_000);
  t.equal(rig.coordinator.ends.size, 0);
  rig.network.mend('n1');
  await rig.pass(40_000);
  t.match(rig.coordinator.ends.get(id), { kind: 'exited', exitCode: 0 });
  t.equal(rig.machine.startCounts.get(id), 1);
});

t.test('a start that comes again starts nothing and is answered with the phase', async (t) => {
  const rig = await connected();
  rig.coordinator.isSlow = true;
  const order = fakeOrder(id, { SIM_RUN_MS: '500' });
  rig.coordinator.start(order);
  await rig.pass(100);
  rig.coordinator.start(order);
  await rig.pass(100);
  t.strictSame(rig.coordinator.phases(id), ['running', 'running']);
  await rig.pass(500);
  rig.coordinator.start(order);
  await rig.pass(100);
  t.strictSame(rig.coordinator.phases(id), ['running', 'running', 'ended', 'ended']);
  t.equal(rig.machine.startCounts.get(id), 1);
});

t.test('a stop that comes before its start wins', async (t) => {
  const rig = await connected();
  rig.coordinator.isSlow = true;
  rig.coordinator.stop(id);
  await rig.pass(50);
  rig.coordinator.start(fakeOrder(id));
  await rig.pass(50);
  t.match(rig.coordinator.ends.get(id), { kind: 'stopped', reason: 'canceled', ranMs: 0 });
  t.equal(rig.machine.startCounts.size, 0);
});

t.test('an order and its stop in one message start nothing', async (t) => {
  const rig = await connected();
  const start = [fakeOrder(id)];
  rig.coordinator.session?.send({
    kind: 'orders',
    orders: { start, stop: [{ allocationId: id, reason: 'preempted' }] },
  });
  await rig.pass(50);
  t.match(rig.coordinator.ends.get(id), { kind: 'stopped', reason: 'preempted' });
  t.equal(rig.machine.startCounts.size, 0);
});

t.test('what was accepted and not begun waits for the coordinator after a restart', async (t) => {
  const rig = new Rig();
  await rig.store.save({ put: [accepted(fakeOrder(id)), accepted(fakeOrder(idOf(2)))] });
  rig.network.cut('n1');
  rig.boot();
  await rig.pass(60_000);
  t.equal(rig.machine.startCounts.size, 0, 'it may have been canceled meanwhile');
  rig.coordinator.stop(idOf(2));
  rig.network.mend('n1');
  await rig.pass(40_000);
  t.strictSame([...rig.machine.startCounts], [[id, 1]]);
  t.match(rig.coordinator.ends.get(id), { kind: 'exited' });
  t.match(rig.coordinator.ends.get(idOf(2)), { kind: 'stopped', reason: 'canceled' });
});

t.test('a stop is a signal, then a kill when the grace is over, whoever is alive to see it', async (t) => {
  for (const dies of [false, true]) {
    const rig = await connected();
    const stop = { signal: 'SIGUSR1', graceMs: 5_000 };
    rig.coordinator.start(fakeOrder(id, { SIM_RUN_MS: '600000', SIM_IGNORE_TERM: '1' }, { stop }));
    rig.coordinator.start(fakeOrder(idOf(2), { SIM_RUN_MS: '600000' }, { stop }));
    await rig.pass(100);
    rig.coordinator.stop(id);
    rig.coordinator.stop(idOf(2));
    await rig.pass(1_000);
    t.match(rig.coordinator.ends.get(idOf(2)), { kind: 'stopped', reason: 'canceled' });
    if (dies) {
      rig.crash();
      rig.boot();
    }
    await rig.pass(3_500);
    t.notOk(rig.coordinator.ends.has(id), 'the grace is not over');
    await rig.pass(5_000);
    t.match(rig.coordinator.ends.get(id), { kind: 'stopped', reason: 'canceled' });
    rig.crash();
  }
});

t.test('a time limit counts from the start of the command, through restarts and without a coordinator', async (t) => {
  const rig = await connected();
  rig.coordinator.start(fakeOrder(id, { SIM_RUN_MS: '600000' }, { timeLimitMs: 60_000 }));
  await rig.pass(30_000);
  rig.crash();
  await rig.pass(10_000);
  rig.network.cut('n1');
  rig.boot();
  await rig.pass(19_000);
  t.strictSame(rig.machine.running, [id]);
  await rig.pass(2_000);
  t.strictSame(rig.machine.running, []);
  rig.network.mend('n1');
  await rig.pass(40_000);
  const end = rig.coordinator.ends.get(id);
  t.match(end, { kind: 'stopped', reason: 'time-limit' });
  t.ok(end && 'ranMs' in end && Math.abs(end.ranMs - 60_000) < 100);
});

t.test('an order that this node cannot serve is rejected, and after a reboot what ran is lost', async (t) => {
  const rig = await connected();
  rig.coordinator.start(fakeOrder(id, {}, { driver: 'docker', image: 'busybox' }));
  rig.coordinator.start(fakeOrder(idOf(2), { SIM_RUN_MS: '60000' }), fakeOrder(idOf(3), {}, { workdir: '/missing' }));
  await rig.pass(100);
  t.match(rig.coordinator.ends.get(id), { kind: 'rejected', message: /docker/ });
  t.match(rig.coordinator.ends.get(idOf(3)), { kind: 'start-failed', message: /\/missing/ });
  rig.crash();
  rig.machine.reboot();
  rig.boot();
  await rig.pass(1_000);
  t.match(rig.coordinator.hellos.at(-1), { bootId: 'boot-2' });
  t.match(rig.coordinator.ends.get(idOf(2)), { kind: 'lost' });
});

t.test(
  'an order that cannot be put on disk is not acknowledged, not started, and taken when it comes again',
  async (t) => {
    const rig = new Rig();
    const { store } = rig;
    let isFull = true;
    rig.store = {
      open: () => store.open(),
      close: () => store.close(),
      save: async (changes) => {
        if (isFull) throw new AppError('store-unavailable', 'disk full');
        await store.save(changes);
      },
    };
    rig.boot();
    await rig.pass(50);
    rig.coordinator.start(fakeOrder(id));
    await rig.pass(5_000);
    t.equal(rig.machine.startCounts.size, 0);
    t.ok(rig.coordinator.hellos.length > 2, 'the agent keeps coming back');
    isFull = false;
    await rig.pass(30_000);
    t.match(rig.coordinator.ends.get(id), { kind: 'exited' });
    t.equal(rig.machine.startCounts.get(id), 1);
  },
);

t.test('an end that cannot be put on disk is told all the same, and again by the next process', async (t) => {
  const rig = await connected();
  const save = rig.store.save.bind(rig.store);
  rig.coordinator.start(fakeOrder(id, { SIM_RUN_MS: '100' }));
  await rig.pass(50);
  rig.store.save = async () => {
    throw new AppError('store-unavailable', 'disk full');
  };
  await rig.pass(10_000);
  t.match(rig.coordinator.ends.get(id), { kind: 'exited' });
  rig.store.save = save;
  rig.crash();
  rig.boot();
  await rig.pass(2_000);
  t.match(rig.coordinator.hellos.at(-1)?.held, [
    { allocationId: id, phase: 'ended', end: { end: { kind: 'exited' } } },
  ]);
  t.equal(rig.machine.startCounts.get(id), 1);
  t.equal((await rig.store.open()).attempts.size, 0, 'and forgotten then');
});

t.test('a busy node spends one report on a command that is soon over, and two on one that is not', async (t) => {
  const rig = await connected();
  const short = Array.from({ length: 40 }, (_, number) => idOf(number + 1));
  for (const [number, each] of short.entries()) {
    rig.coordinator.start(fakeOrder(each, { SIM_RUN_MS: '4', SIM_START_MS: String(number * 2) }));
  }
  const long = idOf(99);
  await rig.pass(30);
  rig.coordinator.start(fakeOrder(long, { SIM_RUN_MS: '300' }));
  await rig.pass(1_000);
  t.strictSame(rig.coordinator.phases(long), ['running', 'ended']);
  for (const each of short) t.equal(rig.coordinator.phases(each).at(-1), 'ended');
  const twice = short.filter((each) => rig.coordinator.phases(each).length > 1);
  t.ok(twice.length < short.length / 4, `${twice.length} of ${short.length} were reported twice`);
});

t.test('the agent comes back at growing intervals, and not at all after a final refusal', async (t) => {
  const rig = new Rig();
  rig.dialError = new AppError('unreachable', 'connection refused');
  rig.boot();
  await rig.pass(10_000);
  t.ok(rig.dialCount >= 5 && rig.dialCount <= 8, `${rig.dialCount} tries in 10 s`);
  await rig.pass(60_000);
  t.ok(rig.dialCount >= 7 && rig.dialCount <= 12, `${rig.dialCount} tries in 70 s`);
  rig.dialError = undefined;
  rig.coordinator.refusal = { code: 'identity-in-use', message: 'two agents', final: false };
  await rig.pass(40_000);
  const tries = rig.dialCount;
  await rig.pass(60_000);
  t.ok(rig.dialCount > tries, 'a refusal that is not final is tried again');
  rig.coordinator.refusal = { code: 'name-taken', message: 'another node has this name', final: true };
  await rig.pass(40_000);
  await t.rejects(rig.ended, { code: 'name-taken' });
  const after = rig.dialCount;
  await rig.pass(120_000);
  t.equal(rig.dialCount, after);
});

t.test('a change of the inventory is told at once, before or after the welcome, and tasks go on', async (t) => {
  const rig = await connected();
  rig.coordinator.start(fakeOrder(id, { SIM_RUN_MS: '60000' }));
  await rig.pass(100);
  const offer = (fault: string) => {
    rig.inventory = anInventory({ gpus: gpus(1, { fault }) });
    void rig.agent?.inventoryChanged();
  };
  offer('one');
  await rig.pass(50);
  t.strictSame(rig.coordinator.inventories, [rig.inventory]);
  t.equal(rig.coordinator.hellos.length, 1, 'on the connection that it has');
  rig.network.reset('n1');
  while (rig.coordinator.hellos.length === 1) await rig.pass(1);
  offer('two');
  await rig.pass(50);
  t.strictSame(rig.coordinator.inventories.at(-1), rig.inventory, 'between hello and welcome');
  rig.network.reset('n1');
  offer('three');
  await rig.pass(1_000);
  t.strictSame(rig.coordinator.hellos.at(-1)?.inventory, rig.inventory, 'without a connection the next hello tells it');
  t.strictSame(rig.machine.running, [id]);
});

t.test('a wrong token ends the agent, and stop ends it in peace', async (t) => {
  const refused = new Rig();
  refused.dialError = new AppError('unauthenticated', 'wrong token');
  refused.boot();
  await refused.pass(100);
  await t.rejects(refused.ended, { code: 'unauthenticated' });

  const rig = await connected();
  rig.coordinator.start(fakeOrder(id, { SIM_RUN_MS: '60000' }));
  await rig.pass(100);
  await rig.agent?.stop();
  await rig.pass(100);
  await rig.ended;
  t.strictSame(rig.machine.running, [id], 'the task goes on');
});

t.test('output arrives byte for byte although messages are lost, and the agent dies on the way', async (t) => {
  const rig = await connected();
  rig.network.weather = { dropRate: 0.1, duplicateRate: 0.1, maxDelayMs: 3 };
  rig.coordinator.start(fakeOrder(id, { SIM_RUN_MS: '2000', SIM_OUTPUT_BYTES: '1000000' }));
  await rig.pass(700);
  rig.crash();
  rig.boot();
  await rig.pass(120_000);
  rig.network.weather = CALM;
  await rig.pass(120_000);
  t.ok(rig.coordinator.output.get(id)?.equals(fakeOutput(0, 1_000_000)));
  t.strictSame(rig.coordinator.complete, [id]);
  t.strictSame(rig.machine.ended(), []);
});

t.test('a noisy task does not hold up the output of a quiet one', async (t) => {
  const rig = await connected();
  rig.coordinator.start(fakeOrder(id, { SIM_RUN_MS: '100', SIM_OUTPUT_BYTES: '5000000' }));
  rig.coordinator.start(fakeOrder(idOf(2), { SIM_RUN_MS: '110', SIM_OUTPUT_BYTES: '100' }));
  await rig.pass(60_000);
  t.strictSame(rig.coordinator.complete, [idOf(2), id]);
});
