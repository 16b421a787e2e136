import { mkdirSync } from 'node:fs';
import { Unfit } from '../../../../shared/config.js';
import type { InstanceId } from '../../../../shared/ids.js';
import { isRecord } from '../../../../shared/job-spec/findings.js';
import { shown } from '../../../../shared/units.js';
import {
  type CreateOrder,
  type InstanceProvider,
  type Machine,
  type MachineState,
  ProviderError,
  type ProviderFactory,
  type ProviderTraits,
  SettingsError,
} from '../../provider.js';
import { flagSetting } from '../cloud-settings.js';
import { guarded } from '../provider-call.js';
import { durationSetting, type ProviderSettings, readProviderSettings, textSetting } from '../provider-settings.js';
import { FixedMachines, machinesSetting } from './fixed-machines.js';
import { CREATE_PLACEHOLDERS, type HookParts, hookRunnerOf, hookSetting, MACHINE_PLACEHOLDERS } from './hook.js';
import { withTicket } from './ticket-file.js';

const MINUTE_MS = 60_000;
const MAX_TIME_LIMIT = { mostMs: 10 * MINUTE_MS };

const programOf = (...names: readonly string[]): string =>
  JSON.stringify(['/path/of/program', ...names.map((name) => `\${${name}}`)]);

const SETTINGS = {
  create: { parse: hookSetting(CREATE_PLACEHOLDERS), required: programOf('instance', 'tokenFile') },
  list: { parse: hookSetting(['cluster']), required: programOf('cluster') },
  terminate: { parse: hookSetting(MACHINE_PLACEHOLDERS), required: programOf('ref') },
  /** Both or none. */
  suspend: { parse: hookSetting(MACHINE_PLACEHOLDERS) },
  resume: { parse: hookSetting(MACHINE_PLACEHOLDERS) },
  check: { parse: hookSetting([]) },
  /** Machines that are there already, and are switched on and off. */
  machines: { parse: machinesSetting },
  timeLimit: { parse: durationSetting(MAX_TIME_LIMIT) },
  suspendedBilling: { parse: textSetting },
  suspendedCountsInQuota: { parse: flagSetting },
  suspendKeepsMemory: { parse: flagSetting },
} satisfies ProviderSettings;

/** Machines that the operator's own programs make, or switch on and off. */
export const commandProvider: ProviderFactory = (settings, world) => {
  const given = readProviderSettings('command', SETTINGS, settings);
  if ((given.suspend === undefined) !== (given.resume === undefined)) {
    const field = given.suspend === undefined ? 'suspend' : 'resume';
    const message = 'it is missing; suspend and resume come together, so write both or none';
    throw new SettingsError('command', [{ field, message }]);
  }
  const canSuspend = given.suspend !== undefined;
  const traits: ProviderTraits = {
    canSuspend,
    suspendedBilling: canSuspend ? (given.suspendedBilling ?? 'what the hooks leave on') : '',
    suspendedCountsInQuota: given.suspendedCountsInQuota ?? true,
    suspendKeepsMemory: given.suspendKeepsMemory ?? false,
  };
  const run = hookRunnerOf({ world, timeLimitMs: given.timeLimit ?? MINUTE_MS });
  const { machines } = given;
  const parts = { hooks: given, traits, run, stateDir: world.stateDir };
  return guarded(machines === undefined ? new HookMachines(parts) : new FixedMachines({ ...parts, machines }));
};

/** The hooks keep track of what there is; `list` is asked for a machine before one is made. */
class HookMachines implements InstanceProvider {
  readonly traits: ProviderTraits;
  readonly #parts: HookParts;
  readonly #creating = new Map<string, Promise<string>>();

  constructor(parts: HookParts) {
    this.traits = parts.traits;
    this.#parts = parts;
  }

  async check(signal: AbortSignal): Promise<void> {
    const { hooks, run, stateDir } = this.#parts;
    mkdirSync(stateDir, { recursive: true, mode: 0o700 });
    if (hooks.check) await run('check', hooks.check, {}, signal);
  }

  async create(order: CreateOrder, signal: AbortSignal): Promise<{ readonly ref: string }> {
    const tag = `${order.cluster}/${order.instanceId}`;
    const creation = this.#creating.get(tag) ?? this.#create(order, signal);
    this.#creating.set(tag, creation);
    try {
      return { ref: await creation };
    } finally {
      this.#creating.delete(tag);
    }
  }

  async #create(order: CreateOrder, signal: AbortSignal): Promise<string> {
    const known = (await this.list(order.cluster, signal)).find(({ instanceId }) => instanceId === order.instanceId);
    if (known) return known.ref;
    const { hooks, run, stateDir } = this.#parts;
    mkdirSync(stateDir, { recursive: true, mode: 0o700 });
    const output = await withTicket(stateDir, order, (values) => run('create', hooks.create, values, signal));
    const ref = output.trim();
    if (ref !== '' && !/\s/.test(ref)) return ref;
    throw new ProviderError(
      'unavailable',
      `create: it wrote ${shown(ref)}; it has to write the machine's ref, and nothing else`,
    );
  }

  async list(cluster: string, signal: AbortSignal): Promise<readonly Machine[]> {
    const { hooks, run } = this.#parts;
    const output = await run('list', hooks.list, { cluster }, signal);
    return output
      .split('\n')
      .filter((line) => line.trim() !== '')
      .map(machineOf);
  }

  suspend(ref: string, signal: AbortSignal): Promise<void> {
    return this.#order('suspend', ref, signal);
  }

  resume(ref: string, signal: AbortSignal): Promise<void> {
    return this.#order('resume', ref, signal);
  }

  async terminate(ref: string, signal: AbortSignal): Promise<void> {
    try {
      await this.#order('terminate', ref, signal);
    } catch (error) {
      if (!(error instanceof ProviderError && error.fault === 'not-found')) throw error;
    }
  }

  async #order(name: 'suspend' | 'resume' | 'terminate', ref: string, signal: AbortSignal): Promise<void> {
    const { hooks, run } = this.#parts;
    const hook = hooks[name];
    if (hook === undefined) throw new ProviderError('configuration', `${name}: there is no such hook; write one`);
    await run(name, hook, { ref }, signal);
  }
}

const STATES: readonly MachineState[] = ['starting', 'running', 'suspending', 'suspended', 'terminating'];

function machineOf(line: string): Machine {
  const found = parsed(line);
  if (found instanceof Unfit) throw new ProviderError('configuration', `list: ${found.message}`);
  return found;
}

function parsed(line: string): Machine | Unfit {
  const form = 'write {"ref": "…", "instance": "i7", "pool": "…", "state": "running"}, one a line';
  let value: unknown;
  try {
    value = JSON.parse(line);
  } catch {
    return new Unfit(`${shown(line)} is no JSON; ${form}`);
  }
  if (!isRecord(value)) return new Unfit(`${shown(line)} is no machine; ${form}`);
  const { ref, instance, pool, state } = value;
  const known = STATES.find((each) => each === state);
  if (known === undefined) return new Unfit(`state: ${shown(state)} is none of ${STATES.join(', ')}`);
  const isWhole = typeof ref === 'string' && typeof instance === 'string' && typeof pool === 'string';
  return isWhole
    ? { ref, instanceId: instance as InstanceId, pool, state: known }
    : new Unfit(`${shown(line)}; ${form}`);
}
