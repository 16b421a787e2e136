import type { Test } from 'tap';
import {
  type CreateOrder,
  type InstanceProvider,
  type Machine,
  type MachineState,
  ProviderError,
} from '../../coordinator/elastic/provider.js';
import type { InstanceId, NodeId } from '../../shared/ids.js';
import { until } from '../kit/until.js';

/** A place where machines are made, by a provider that may be opened again and again. */
export interface ProviderBench {
  /** The provider as a coordinator that has just started opens it. */
  readonly open: () => InstanceProvider;
  /** What to order; the suite changes cluster and instance. */
  readonly order: CreateOrder;
  /** Takes the machine away as a person at the provider's would. */
  readonly vanish: (ref: string) => Promise<void>;
  /** Everything that exists at the provider's, of whatever cluster, told by other means than the provider's `list`. */
  readonly count: () => Promise<number>;
  /**
   * Coordinators that died in the middle of `create`, by what they had done. Each leaves behind what they left; then
   * the same order is given again.
   */
  readonly deaths: Readonly<Record<string, (order: CreateOrder) => Promise<void>>>;
}

/** What every maker of machines must do. Each promise gets a bench of its own, which cleans up after itself. */
export function instanceProviderConformance(t: Test, makeBench: (t: Test) => Promise<ProviderBench>): void {
  for (const [title, run] of Object.entries(PROMISES))
    t.test(title, async (t) => run(t, new Trial(await makeBench(t))));
}

const OTHER_CLUSTER = 'another';

const PROMISES: Readonly<Record<string, (t: Test, trial: Trial) => Promise<void>>> = {
  'a machine has its tag and its pool, runs, and is gone when it was terminated': async (t, trial) => {
    const provider = trial.open();
    await provider.check(trial.signal);
    t.strictSame(await trial.listed(), []);
    const { ref } = await trial.create();
    t.match(await trial.listed(), [{ ref, instanceId: 'i1', pool: trial.bench.order.pool, state: /starting|running/ }]);
    await trial.until(ref, 'running');
    await provider.terminate(ref, trial.signal);
    await trial.untilGone(ref);
    t.equal(await trial.bench.count(), 0, 'nothing of it is left');
  },

  'asked again, at once or later or by another coordinator, create answers with the one machine': async (t, trial) => {
    const provider = trial.open();
    const twice = [provider.create(trial.order('i1'), trial.signal), provider.create(trial.order('i1'), trial.signal)];
    const [first, second] = await Promise.all(twice);
    t.strictSame(first, second);
    await trial.until(first?.ref ?? '', 'running');
    t.strictSame(await trial.create(), first);
    t.equal(await trial.bench.count(), 1);
    const other = await trial.create('i2');
    t.not(other.ref, first?.ref);
    t.equal(await trial.bench.count(), 2);
  },

  'what a coordinator left that died while it created a machine is taken up, and is one machine': async (t, trial) => {
    let count = 0;
    for (const [what, die] of Object.entries(trial.bench.deaths)) {
      count += 1;
      await die(trial.order(`i${count}`));
      const { ref } = await trial.create(`i${count}`);
      await trial.until(ref, 'running');
      t.equal((await trial.listed()).length, count, what);
      t.equal(await trial.bench.count(), count, what);
    }
  },

  'the list shows machines of its own cluster only, also those of earlier coordinators': async (t, trial) => {
    const mine = await trial.create('i1');
    const theirs = await trial.create('i1', OTHER_CLUSTER);
    t.not(mine.ref, theirs.ref, 'the same number in another cluster is another machine');
    t.strictSame(
      (await trial.listed()).map(({ ref }) => ref),
      [mine.ref],
    );
    t.strictSame(
      (await trial.listed(OTHER_CLUSTER)).map(({ ref }) => ref),
      [theirs.ref],
    );
    t.strictSame(await trial.listed('a-third'), []);
    t.equal(await trial.bench.count(), 2);
  },

  'a machine is suspended and resumed, each as often as one likes, by whichever coordinator': async (t, trial) => {
    if (!trial.open().traits.canSuspend) return;
    const { ref } = await trial.create();
    await trial.until(ref, 'running');
    for (const round of [1, 2]) {
      await trial.open().suspend(ref, trial.signal);
      await trial.open().suspend(ref, trial.signal);
      await trial.until(ref, 'suspended');
      await trial.open().suspend(ref, trial.signal);
      t.strictSame(await trial.create(), { ref }, `round ${round}: a suspended machine is the one there is`);
      t.equal((await trial.listed())[0]?.state, 'suspended', 'and stays so');
      await trial.open().resume(ref, trial.signal);
      await trial.open().resume(ref, trial.signal);
      await trial.until(ref, 'running');
    }
    t.equal(await trial.bench.count(), 1);
  },

  'a suspended machine can be terminated': async (t, trial) => {
    if (!trial.open().traits.canSuspend) return;
    const { ref } = await trial.create();
    await trial.until(ref, 'running');
    await trial.open().suspend(ref, trial.signal);
    await trial.until(ref, 'suspended');
    await trial.open().terminate(ref, trial.signal);
    await trial.untilGone(ref);
    t.equal(await trial.bench.count(), 0);
  },

  'of a machine that is gone, terminate is content and the others say not-found': async (t, trial) => {
    const { ref } = await trial.create();
    await trial.until(ref, 'running');
    const provider = trial.open();
    await Promise.all([provider.terminate(ref, trial.signal), provider.terminate(ref, trial.signal)]);
    await trial.untilGone(ref);
    await provider.terminate(ref, trial.signal);
    if (!provider.traits.canSuspend) return;
    t.equal(await faultOf(t, provider.suspend(ref, trial.signal)), 'not-found');
    t.equal(await faultOf(t, provider.resume(ref, trial.signal)), 'not-found');
  },

  'a machine that was taken away by hand is no longer listed, and then gone like any other': async (t, trial) => {
    const { ref } = await trial.create('i1');
    const kept = await trial.create('i2');
    await trial.until(ref, 'running');
    await trial.bench.vanish(ref);
    await trial.untilGone(ref);
    t.strictSame(
      (await trial.listed()).map((machine) => machine.ref),
      [kept.ref],
    );
    const provider = trial.open();
    if (provider.traits.canSuspend) t.equal(await faultOf(t, provider.suspend(ref, trial.signal)), 'not-found');
    await provider.terminate(ref, trial.signal);
  },

  'a call that was aborted before does nothing and says unavailable': async (t, trial) => {
    const { ref } = await trial.create('i1');
    await trial.until(ref, 'running');
    const provider = trial.open();
    const gone = AbortSignal.abort();
    const calls = [
      () => provider.check(gone),
      () => provider.list(trial.bench.order.cluster, gone),
      () => provider.create(trial.order('i2'), gone),
      () => provider.terminate(ref, gone),
      ...(provider.traits.canSuspend ? [() => provider.suspend(ref, gone), () => provider.resume(ref, gone)] : []),
    ];
    for (const call of calls) t.equal(await faultOf(t, call()), 'unavailable');
    t.match(await trial.listed(), [{ ref, state: 'running' }]);
    t.equal(await trial.bench.count(), 1);
  },

  'what suspending means is told in words': async (t, trial) => {
    const { canSuspend, suspendedBilling } = trial.open().traits;
    t.equal(canSuspend, suspendedBilling !== '', 'and only where there is suspending');
  },
};

/** A bench with the calls that the promises make again and again. */
class Trial {
  readonly bench: ProviderBench;
  readonly signal = new AbortController().signal;

  constructor(bench: ProviderBench) {
    this.bench = bench;
  }

  open(): InstanceProvider {
    return this.bench.open();
  }

  order(instanceId: string, cluster = this.bench.order.cluster): CreateOrder {
    const nodeId = `${this.bench.order.nodeId}-${instanceId}` as NodeId;
    return { ...this.bench.order, cluster, instanceId: instanceId as InstanceId, nodeId };
  }

  create(instanceId = 'i1', cluster?: string): Promise<{ readonly ref: string }> {
    return this.open().create(this.order(instanceId, cluster), this.signal);
  }

  listed(cluster = this.bench.order.cluster): Promise<readonly Machine[]> {
    return this.open().list(cluster, this.signal);
  }

  async until(ref: string, state: MachineState): Promise<void> {
    await until(
      `${ref} is ${state}`,
      async () => (await this.listed()).find((each) => each.ref === ref)?.state === state,
    );
  }

  async untilGone(ref: string): Promise<void> {
    await until(`${ref} is gone`, async () => !(await this.listed()).some((each) => each.ref === ref));
  }
}

/** Why the call was refused. Fails the test when it was not, or with anything but a `ProviderError`. */
async function faultOf(t: Test, call: Promise<unknown>): Promise<string> {
  try {
    await call;
  } catch (error) {
    t.ok(error instanceof ProviderError, `a ProviderError, not ${error}`);
    return error instanceof ProviderError ? error.fault : '';
  }
  return 'none: it did as told';
}
