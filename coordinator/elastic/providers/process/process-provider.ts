import { accessSync, constants, mkdirSync } from 'node:fs';
import { join } from 'node:path';
import type { Cancel } from '../../../../shared/clock.js';
import {
  type CreateOrder,
  type InstanceProvider,
  type Machine,
  type MachineState,
  ProviderError,
  type ProviderFactory,
  type ProviderTraits,
  type ProviderWorld,
} from '../../provider.js';
import { guarded } from '../provider-call.js';
import { durationSetting, type ProviderSettings, readProviderSettings, textsSetting } from '../provider-settings.js';
import { MachineFolders, type MachineRecord, type Power } from './machine-folders.js';
import { findProcesses, signalProcesses } from './machine-processes.js';
import { startAgent } from './start-agent.js';

const MAX_DELAY = { mostMs: 3_600_000 };

const SETTINGS = {
  /** So that a trial has the times of real machines. */
  bootDelay: { parse: durationSetting(MAX_DELAY) },
  resumeDelay: { parse: durationSetting(MAX_DELAY) },
  offDelay: { parse: durationSetting(MAX_DELAY) },
  /** Further flags of `berth agent`. */
  agentFlags: { parse: textsSetting },
} satisfies ProviderSettings;

interface Options {
  readonly bootMs: number;
  readonly resumeMs: number;
  readonly offMs: number;
  readonly agentFlags: readonly string[];
  readonly world: ProviderWorld;
}

/** How long killed processes may take to be gone before they are looked for again. */
const GONE_POLL_MS = 50;

/** Machines that are processes of this one: for trying out, and for tests. */
export const processProvider: ProviderFactory = (settings, world) => {
  const given = readProviderSettings('process', SETTINGS, settings);
  const provider = new ProcessProvider({
    bootMs: given.bootDelay ?? 0,
    resumeMs: given.resumeDelay ?? 0,
    offMs: given.offDelay ?? 0,
    agentFlags: given.agentFlags ?? [],
    world,
  });
  return guarded(provider);
};

/**
 * What a machine is to be is on disk, what it is the kernel knows. `#settle` makes the one of the other, as often as
 * anybody looks and when a delay is over, so a coordinator may die between any two lines. Suspended processes are
 * stopped (SIGSTOP); they end with this machine, as all others do.
 *
 * All file work is synchronous, so that no two calls ever mix.
 */
class ProcessProvider implements InstanceProvider {
  readonly traits: ProviderTraits = {
    canSuspend: true,
    suspendedBilling: 'costs no CPU, but keeps its memory on this machine',
    suspendedCountsInQuota: true,
    suspendKeepsMemory: true,
  };
  readonly #options: Options;
  readonly #folders: MachineFolders;
  readonly #wakes = new Map<string, Cancel>();

  constructor(options: Options) {
    this.#options = options;
    this.#folders = new MachineFolders(join(options.world.stateDir, 'machines'));
  }

  async check(): Promise<void> {
    mkdirSync(this.#folders.root, { recursive: true, mode: 0o700 });
    accessSync(this.#folders.root, constants.W_OK);
    accessSync('/proc/self/stat', constants.R_OK);
  }

  async create(order: CreateOrder): Promise<{ readonly ref: string }> {
    const ref = MachineFolders.refOf(order);
    const state = this.#settle(ref);
    if (state === 'terminating') throw new ProviderError('unavailable', `${ref} is being terminated; ask again`);
    if (state !== 'gone') return { ref };
    this.#folders.make(ref, order, this.#power('on', this.#options.bootMs));
    if (this.#settle(ref) !== 'gone') return { ref };
    throw new ProviderError('capacity', 'this machine could not start one more process; is there a limit?');
  }

  async list(cluster: string): Promise<readonly Machine[]> {
    return this.#folders.refs().flatMap((ref) => {
      const order = this.#folders.read(ref)?.order;
      const state = this.#settle(ref);
      if (order?.cluster !== cluster || state === 'gone') return [];
      return [{ ref, instanceId: order.instanceId, pool: order.pool, state }];
    });
  }

  async suspend(ref: string): Promise<void> {
    this.#turn(ref, this.#power('suspended', this.#options.offMs));
  }

  async resume(ref: string): Promise<void> {
    this.#turn(ref, this.#power('on', this.#options.resumeMs));
  }

  async terminate(ref: string): Promise<void> {
    const record = this.#folders.read(ref);
    if (record === undefined || record.power.want === 'off') return;
    this.#folders.write(ref, { ...record, power: this.#power('off', this.#options.offMs) });
    this.#settle(ref);
  }

  #power(want: Power['want'], delayMs: number): Power {
    return { want, from: this.#options.world.clock.now() + delayMs };
  }

  #turn(ref: string, power: Power): void {
    const state = this.#settle(ref);
    const record = this.#folders.read(ref);
    if (record === undefined || state === 'gone' || state === 'terminating') {
      throw new ProviderError('not-found', `there is no machine ${ref}`);
    }
    if (record.power.want === power.want) return;
    this.#folders.write(ref, { ...record, power });
    this.#settle(ref);
  }

  /** Brings the machine as far as it is to be by now, and says how far that is. */
  #settle(ref: string): MachineState | 'gone' {
    const record = this.#folders.read(ref);
    if (record === undefined) return 'gone';
    const processes = findProcesses(this.#folders.path(ref));
    if (processes.agent === undefined && record.hasBegun && record.power.want !== 'off') {
      // Somebody pulled the plug.
      const gone = { ...record, power: this.#power('off', 0) };
      this.#folders.write(ref, gone);
      return this.#switchOff(ref, gone);
    }
    switch (record.power.want) {
      case 'on':
        return this.#switchOn(ref, record);
      case 'suspended':
        if (processes.agent?.isStopped === false) signalProcesses(processes, 'SIGSTOP');
        return this.#isDue(ref, record) ? 'suspended' : 'suspending';
      case 'off':
        return this.#switchOff(ref, record);
    }
  }

  #switchOn(ref: string, record: MachineRecord): MachineState | 'gone' {
    if (!this.#isDue(ref, record)) return 'starting';
    const folder = this.#folders.path(ref);
    const processes = findProcesses(folder);
    if (processes.agent?.isStopped) signalProcesses(processes, 'SIGCONT');
    if (record.hasBegun) return 'running';
    const { agentFlags: moreFlags, world } = this.#options;
    const hasBegun =
      processes.agent !== undefined ||
      startAgent({ folder, order: record.order, moreFlags, environment: world.environment });
    if (!hasBegun) {
      this.#folders.remove(ref);
      return 'gone';
    }
    this.#folders.write(ref, { ...record, hasBegun });
    return 'running';
  }

  /** Processes go at once; the machine is on the list for as long as a real one would take. */
  #switchOff(ref: string, record: MachineRecord): MachineState | 'gone' {
    const processes = findProcesses(this.#folders.path(ref));
    signalProcesses(processes, 'SIGKILL');
    if (!this.#isDue(ref, record)) return 'terminating';
    if (processes.pids.length > 0) {
      this.#settleIn(ref, GONE_POLL_MS);
      return 'terminating';
    }
    this.#folders.remove(ref);
    return 'gone';
  }

  /** False while the machine is on its way; then it is seen to when it arrives. */
  #isDue(ref: string, { power }: MachineRecord): boolean {
    const remainingMs = power.from - this.#options.world.clock.now();
    if (remainingMs > 0) this.#settleIn(ref, remainingMs);
    return remainingMs <= 0;
  }

  #settleIn(ref: string, delayMs: number): void {
    this.#wakes.get(ref)?.();
    const wake = (): void => {
      this.#wakes.delete(ref);
      try {
        this.#settle(ref);
      } catch {
        // Fails again, and is told, when somebody looks.
      }
    };
    this.#wakes.set(ref, this.#options.world.clock.after(delayMs, wake));
  }
}
