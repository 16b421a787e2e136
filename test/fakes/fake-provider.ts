import {
  type CreateOrder,
  type InstanceProvider,
  type Machine,
  ProviderError,
  type ProviderFault,
  type ProviderTraits,
} from '../../coordinator/elastic/provider.js';
import { providerCall } from '../../coordinator/elastic/providers/provider-call.js';
import type { Clock, EpochMs } from '../../shared/clock.js';

type Call = 'check' | 'create' | 'list' | 'suspend' | 'resume' | 'terminate';

/** What goes wrong with a call, once. */
export type FakeFault =
  /** Refused; nothing has been done. */
  | { readonly kind: 'refused'; readonly fault: ProviderFault }
  /** Never answered until the caller gives up; nothing has been done. */
  | { readonly kind: 'hangs' }
  /** Done, but never answered. */
  | { readonly kind: 'unanswered' }
  /** Done, and answered so much later. */
  | { readonly kind: 'late'; readonly afterMs: number }
  /** Of `create`: two machines are made with the same tag. */
  | { readonly kind: 'twice' };

export interface FakeTimes {
  readonly bootMs: number;
  readonly suspendMs: number;
  readonly resumeMs: number;
  readonly offMs: number;
}

export interface FakeCloudOptions {
  readonly clock: Clock;
  readonly times?: Partial<FakeTimes>;
  readonly traits?: Partial<ProviderTraits>;
}

type Want = 'on' | 'suspended' | 'off';

interface FakeMachine {
  readonly ref: string;
  readonly order: CreateOrder;
  want: Want;
  from: EpochMs;
}

const NO_TIME: FakeTimes = { bootMs: 0, suspendMs: 0, resumeMs: 0, offMs: 0 };
const TRAITS: ProviderTraits = {
  canSuspend: true,
  suspendedBilling: 'nothing is paid: it is a fake',
  suspendedCountsInQuota: true,
  suspendKeepsMemory: true,
};

/** A cloud in memory, which outlives every coordinator that asks it for machines. */
export class FakeCloud {
  /** Machines that it grants at once; the next one is refused with `quota`. */
  quota = Number.POSITIVE_INFINITY;
  /** Every call that came, with its tag or ref. */
  readonly calls: string[] = [];
  readonly traits: ProviderTraits;
  readonly #clock: Clock;
  readonly #times: FakeTimes;
  readonly #machines = new Map<string, FakeMachine>();
  readonly #faults = new Map<Call, FakeFault[]>();
  #count = 0;

  constructor({ clock, times, traits }: FakeCloudOptions) {
    this.#clock = clock;
    this.#times = { ...NO_TIME, ...times };
    this.traits = { ...TRAITS, ...traits };
  }

  /** As a coordinator opens it; one that died had its own. */
  open(): InstanceProvider {
    const { traits } = this;
    const answer = <T>(call: Call, of: string, signal: AbortSignal, act: () => T): Promise<T> =>
      providerCall(signal, () => this.#answer(call, of, signal, act));
    return {
      traits,
      check: (signal) => answer('check', '', signal, () => {}),
      create: (order, signal) => answer('create', order.instanceId, signal, () => this.#create(order)),
      list: (cluster, signal) => answer('list', cluster, signal, () => this.#list(cluster)),
      suspend: (ref, signal) => answer('suspend', ref, signal, () => this.#turn(ref, 'suspended')),
      resume: (ref, signal) => answer('resume', ref, signal, () => this.#turn(ref, 'on')),
      terminate: (ref, signal) => answer('terminate', ref, signal, () => this.#terminate(ref)),
    };
  }

  /** Makes the next call of this kind go wrong; several go wrong one after the other. */
  failNext(call: Call, fault: FakeFault): void {
    this.#faults.set(call, [...(this.#faults.get(call) ?? []), fault]);
  }

  /** Somebody takes the machine away by hand. */
  vanish(ref: string): void {
    this.#machines.delete(ref);
  }

  /** The orders of the machines that there are. */
  orders(): CreateOrder[] {
    this.#forgetGone();
    return [...this.#machines.values()].map(({ order }) => order);
  }

  async #answer<T>(call: Call, of: string, signal: AbortSignal, act: () => T): Promise<T> {
    this.calls.push(`${call} ${of}`.trim());
    this.#forgetGone();
    const fault = this.#faults.get(call)?.shift();
    if (fault?.kind === 'refused') throw new ProviderError(fault.fault, `${call}: ${fault.fault}, as the test has it`);
    if (fault?.kind === 'hangs') return untilAborted(signal);
    const done = act();
    if (fault?.kind === 'twice') this.#double(of);
    if (fault?.kind === 'unanswered') return untilAborted(signal);
    if (fault?.kind === 'late') {
      await Promise.race([untilAborted(signal), new Promise<void>((go) => this.#clock.after(fault.afterMs, go))]);
    }
    return done;
  }

  #create(order: CreateOrder): { ref: string } {
    const known = [...this.#machines.values()].find(
      (machine) => machine.order.cluster === order.cluster && machine.order.instanceId === order.instanceId,
    );
    if (known) return { ref: known.ref };
    if (this.#machines.size >= this.quota) throw new ProviderError('quota', `only ${this.quota} machines are granted`);
    return { ref: this.#add(order) };
  }

  #add(order: CreateOrder): string {
    this.#count += 1;
    const ref = `m-${this.#count}`;
    this.#machines.set(ref, { ref, order, want: 'on', from: this.#clock.now() + this.#times.bootMs });
    return ref;
  }

  #double(instanceId: string): void {
    const order = this.orders().find((each) => each.instanceId === instanceId);
    if (order) this.#add(order);
  }

  #list(cluster: string): Machine[] {
    return [...this.#machines.values()]
      .filter(({ order }) => order.cluster === cluster)
      .map(({ ref, order, want, from }) => {
        const [coming, come] = STATES[want];
        const state = this.#clock.now() < from ? coming : come;
        return { ref, instanceId: order.instanceId, pool: order.pool, state };
      });
  }

  #turn(ref: string, want: 'on' | 'suspended'): void {
    const machine = this.#machines.get(ref);
    if (machine === undefined || machine.want === 'off') throw new ProviderError('not-found', `there is no ${ref}`);
    if (machine.want === want) return;
    const { suspendMs, resumeMs } = this.#times;
    machine.want = want;
    machine.from = this.#clock.now() + (want === 'on' ? resumeMs : suspendMs);
  }

  #terminate(ref: string): void {
    const machine = this.#machines.get(ref);
    if (machine === undefined || machine.want === 'off') return;
    machine.want = 'off';
    machine.from = this.#clock.now() + this.#times.offMs;
    this.#forgetGone();
  }

  #forgetGone(): void {
    const now = this.#clock.now();
    for (const { ref, want, from } of this.#machines.values()) {
      if (want === 'off' && now >= from) this.#machines.delete(ref);
    }
  }
}

const STATES = {
  on: ['starting', 'running'],
  suspended: ['suspending', 'suspended'],
  off: ['terminating', 'terminating'],
} as const;

function untilAborted(signal: AbortSignal): Promise<never> {
  return new Promise((_, reject) => {
    if (signal.aborted) reject(signal.reason);
    signal.addEventListener('abort', () => reject(signal.reason), { once: true });
  });
}
