import type { CreateOrder, InstanceProvider, Machine, MachineState } from '../../coordinator/elastic/provider.js';
import { ProviderError } from '../../coordinator/elastic/provider.js';
import { type Clock, sleep } from '../../shared/clock.js';
import { below, type Random } from '../../shared/random.js';
import type { AgentHost } from './agent-host.js';
import type { Story } from './story.js';

export interface SimCloudOptions {
  readonly clock: Clock;
  readonly random: Random;
  readonly story: Story;
  /** A machine with an agent that dials the coordinator, switched off. */
  readonly hostFor: (order: CreateOrder) => AgentHost;
  readonly powerOff: (host: AgentHost) => void;
}

/**
 * How the cloud misbehaves at the moment: it says no, does not answer, answers when it is too late, does as told and
 * loses its answer, or forgets to list what is new.
 */
export type CloudTrouble = 'none' | 'quota' | 'capacity' | 'down' | 'hang' | 'lost-answer' | 'forgetful';

interface SimMachine {
  readonly ref: string;
  readonly order: CreateOrder;
  readonly host: AgentHost;
  readonly madeAt: number;
  state: MachineState;
  /** Of the newest order: an older one that is still under way finds that it has been overtaken. */
  turn: number;
}

const BOOT_MS = 8_000;
const RESUME_MS = 2_000;
const OFF_MS = 3_000;
/** Shorter than the time for which absence proves nothing. */
const FORGETFUL_MS = 20_000;

/** A cloud whose machines really run agents, and that outlives every coordinator. */
export class SimCloud implements InstanceProvider {
  readonly traits = {
    canSuspend: true,
    suspendedBilling: 'nothing',
    suspendedCountsInQuota: false,
    suspendKeepsMemory: false,
  };
  readonly #options: SimCloudOptions;
  readonly #machines = new Map<string, SimMachine>();
  readonly #hosts = new Set<AgentHost>();
  #count = 0;
  trouble: CloudTrouble = 'none';

  constructor(options: SimCloudOptions) {
    this.#options = options;
  }

  get machines(): readonly Machine[] {
    return [...this.#machines.values()].map(seen);
  }

  async check(): Promise<void> {}

  async create(order: CreateOrder): Promise<{ readonly ref: string }> {
    await this.#answerTime();
    this.#refuse();
    const known = [...this.#machines.values()].find((machine) => machine.order.instanceId === order.instanceId);
    const { ref } = known ?? this.#make(order);
    return this.#answer({ ref });
  }

  async list(cluster: string): Promise<readonly Machine[]> {
    await this.#answerTime();
    if (this.trouble === 'down' || this.trouble === 'hang') this.#refuse();
    const now = this.#options.clock.now();
    const isShown = ({ order, madeAt }: SimMachine): boolean =>
      order.cluster === cluster && (this.trouble !== 'forgetful' || now - madeAt > FORGETFUL_MS);
    return [...this.#machines.values()].filter(isShown).map(seen);
  }

  async suspend(ref: string): Promise<void> {
    await this.#answerTime();
    if (this.trouble === 'capacity') throw new ProviderError('configuration', 'this machine cannot be suspended');
    this.#refuse();
    const machine = this.#machineOf(ref);
    if (machine.state === 'running' || machine.state === 'starting') this.#switchOff(machine, 'suspended');
    await this.#answer(undefined);
  }

  async resume(ref: string): Promise<void> {
    await this.#answerTime();
    this.#refuse();
    const machine = this.#machineOf(ref);
    if (machine.state === 'suspended') this.#switchOn(machine, RESUME_MS);
    else if (machine.state === 'suspending') throw new ProviderError('unavailable', 'it is still suspending');
    await this.#answer(undefined);
  }

  async terminate(ref: string): Promise<void> {
    await this.#answerTime();
    if (this.trouble === 'down' || this.trouble === 'hang') this.#refuse();
    const machine = this.#machines.get(ref);
    if (machine && machine.state !== 'terminating') this.#switchOff(machine, 'terminating');
    await this.#answer(undefined);
  }

  /** Is it the host of a machine of this cloud that is not on? */
  isOff(host: AgentHost): boolean {
    if (!this.#hosts.has(host)) return false;
    return ![...this.#machines.values()].some((machine) => machine.host === host && machine.state === 'running');
  }

  /** Somebody removes or suspends a machine by hand. */
  meddle(how: 'terminate' | 'suspend'): void {
    const running = [...this.#machines.values()].filter(({ state }) => state === 'running');
    const machine = running[below(this.#options.random, running.length)];
    if (!machine) return;
    this.#options.powerOff(machine.host);
    machine.turn += 1;
    this.#options.story.takenAway(machine.order.nodeId);
    if (how === 'suspend') machine.state = 'suspended';
    else this.#machines.delete(machine.ref);
  }

  #make(order: CreateOrder): SimMachine {
    this.#count += 1;
    const host = this.#options.hostFor(order);
    this.#hosts.add(host);
    const madeAt = this.#options.clock.now();
    const machine: SimMachine = { ref: `m-${this.#count}`, order, host, madeAt, state: 'starting', turn: 0 };
    this.#machines.set(machine.ref, machine);
    this.#switchOn(machine, BOOT_MS);
    return machine;
  }

  #switchOn(machine: SimMachine, withinMs: number): void {
    const turn = this.#begin(machine, 'starting');
    this.#options.clock.after(1 + below(this.#options.random, withinMs), () => {
      if (machine.turn !== turn) return;
      machine.state = 'running';
      machine.host.start();
    });
  }

  /** The order itself is the moment of truth: whatever runs there now will not end by itself (P6). */
  #switchOff(machine: SimMachine, to: 'suspended' | 'terminating'): void {
    const { running } = machine.host.machine;
    const { nodeId } = machine.order;
    if (running.length > 0) this.#options.story.switchedOff(nodeId, running);
    const turn = this.#begin(machine, to === 'suspended' ? 'suspending' : 'terminating');
    this.#options.clock.after(1 + below(this.#options.random, OFF_MS), () => {
      if (machine.turn !== turn) return;
      this.#options.powerOff(machine.host);
      machine.state = to;
      if (to === 'terminating') this.#machines.delete(machine.ref);
    });
  }

  #begin(machine: SimMachine, state: MachineState): number {
    machine.turn += 1;
    machine.state = state;
    return machine.turn;
  }

  #machineOf(ref: string): SimMachine {
    const machine = this.#machines.get(ref);
    if (!machine || machine.state === 'terminating') throw new ProviderError('not-found', `there is no ${ref}`);
    return machine;
  }

  #answerTime(): Promise<void> {
    return sleep(this.#options.clock, 1 + below(this.#options.random, 300));
  }

  #refuse(): void {
    if (this.trouble === 'quota' || this.trouble === 'capacity') {
      throw new ProviderError(this.trouble, `no more machines: ${this.trouble}`);
    }
    if (this.trouble === 'down') throw new ProviderError('unavailable', 'bad gateway');
  }

  /** The answer, if it comes. */
  #answer<T>(answer: T): Promise<T> {
    if (this.trouble === 'hang') return new Promise(() => {});
    if (this.trouble === 'lost-answer') return Promise.reject(new ProviderError('unavailable', 'connection reset'));
    return Promise.resolve(answer);
  }
}

function seen({ ref, order, state }: SimMachine): Machine {
  return { ref, instanceId: order.instanceId, pool: order.pool, state };
}
