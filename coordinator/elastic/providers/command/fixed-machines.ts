import { existsSync, mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
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
  type ProviderTraits,
} from '../../provider.js';
import type { HookParts, HookValues } from './hook.js';
import { withTicket } from './ticket-file.js';

/** A machine that is there already: its name, and what hooks have to know of it, such as the address of its BMC. */
export type FixedMachine = { readonly name: string } & Readonly<Record<string, string>>;

/** Whose a machine is for now, and what it is to be. */
interface Loan {
  readonly cluster: string;
  readonly instanceId: InstanceId;
  readonly pool: string;
  readonly node: string;
  readonly want: 'on' | 'suspended' | 'off';
  /** Its hook has done its part. */
  readonly isOrdered: boolean;
}

const RECORD = 'loans.json';

/**
 * Machines of a list, lent to instances and switched on and off. Which is whose is in a file of ours, written before a
 * hook is called; whether it is on, `list` says: {"ref": NAME, "state": "on" | "off"}, one a line.
 */
export class FixedMachines implements InstanceProvider {
  readonly traits: ProviderTraits;
  readonly #parts: HookParts;
  readonly #machines: readonly FixedMachine[];

  constructor({ machines, ...parts }: HookParts & { readonly machines: readonly FixedMachine[] }) {
    this.traits = parts.traits;
    this.#parts = parts;
    this.#machines = machines;
  }

  async check(signal: AbortSignal): Promise<void> {
    const { hooks, run } = this.#parts;
    this.#read();
    if (hooks.check) await run('check', hooks.check, {}, signal);
    await this.#states(signal);
  }

  async create(order: CreateOrder, signal: AbortSignal): Promise<{ readonly ref: string }> {
    const machine = this.#lend(order);
    const loan = this.#loanOf(machine.name);
    if (loan.want === 'off') throw new ProviderError('unavailable', `${machine.name} is being switched off; ask again`);
    if (loan.isOrdered) return { ref: machine.name };
    try {
      await withTicket(this.#parts.stateDir, order, (values) =>
        this.#parts.run('create', this.#parts.hooks.create, { ...values, ...valuesOf(machine, loan) }, signal),
      );
    } catch (error) {
      if (error instanceof ProviderError && error.fault !== 'unavailable') this.#write(machine.name, undefined);
      throw error;
    }
    this.#write(machine.name, { ...this.#loanOf(machine.name), isOrdered: true });
    return { ref: machine.name };
  }

  async list(cluster: string, signal: AbortSignal): Promise<readonly Machine[]> {
    const states = await this.#states(signal);
    return Object.entries(this.#read()).flatMap(([ref, loan]) => {
      const state = stateOf(loan, states.get(ref));
      if (state === 'gone') this.#write(ref, undefined);
      if (state === 'gone' || loan.cluster !== cluster) return [];
      return [{ ref, instanceId: loan.instanceId, pool: loan.pool, state }];
    });
  }

  suspend(ref: string, signal: AbortSignal): Promise<void> {
    return this.#turn('suspend', { ref, want: 'suspended' }, signal);
  }

  resume(ref: string, signal: AbortSignal): Promise<void> {
    return this.#turn('resume', { ref, want: 'on' }, signal);
  }

  async terminate(ref: string, signal: AbortSignal): Promise<void> {
    if (this.#read()[ref] !== undefined) await this.#turn('terminate', { ref, want: 'off' }, signal);
  }

  async #turn(
    name: 'suspend' | 'resume' | 'terminate',
    { ref, want }: { readonly ref: string; readonly want: Loan['want'] },
    signal: AbortSignal,
  ): Promise<void> {
    const { hooks, run } = this.#parts;
    const loan = this.#loanOf(ref);
    if (want !== 'off' && loan.want === 'off') throw new ProviderError('not-found', `${ref} is being given back`);
    const machine = this.#machines.find((each) => each.name === ref);
    const hook = hooks[name];
    if (machine === undefined || hook === undefined) {
      throw new ProviderError('configuration', `${name}: ${ref} is not among machines, or there is no such hook`);
    }
    if (loan.want === want && loan.isOrdered) return;
    this.#write(ref, { ...loan, want, isOrdered: false });
    await run(name, hook, valuesOf(machine, loan), signal);
    if (this.#read()[ref]?.want === want) this.#write(ref, { ...loan, want, isOrdered: true });
  }

  /** The machine that the instance has, or a free one, on file as its own from now on. */
  #lend({ cluster, instanceId, pool, nodeId }: CreateOrder): FixedMachine {
    const loans = this.#read();
    const isIts = (name: string): boolean => loans[name]?.cluster === cluster && loans[name]?.instanceId === instanceId;
    const its = this.#machines.find(({ name }) => isIts(name));
    if (its) return its;
    const free = this.#machines.find(({ name }) => loans[name] === undefined);
    if (!free) throw new ProviderError('capacity', `all ${this.#machines.length} machines of the list are in use`);
    this.#write(free.name, { cluster, instanceId, pool, node: nodeId, want: 'on', isOrdered: false });
    return free;
  }

  async #states(signal: AbortSignal): Promise<ReadonlyMap<string, 'on' | 'off'>> {
    const output = await this.#parts.run('list', this.#parts.hooks.list, { cluster: '' }, signal);
    const lines = output.split('\n').filter((line) => line.trim() !== '');
    return new Map(lines.map(stateLine));
  }

  /** Throws `not-found` when the machine is nobody's. */
  #loanOf(ref: string): Loan {
    const loan = this.#read()[ref];
    if (loan === undefined) throw new ProviderError('not-found', `there is no machine ${ref} in use`);
    return loan;
  }

  #read(): Readonly<Record<string, Loan>> {
    const path = join(this.#parts.stateDir, RECORD);
    mkdirSync(this.#parts.stateDir, { recursive: true, mode: 0o700 });
    return existsSync(path) ? (JSON.parse(readFileSync(path, 'utf8')) as Record<string, Loan>) : {};
  }

  /** Synchronous from reading to writing, so that no machine is lent twice. */
  #write(ref: string, loan: Loan | undefined): void {
    const { [ref]: _, ...others } = this.#read();
    const path = join(this.#parts.stateDir, RECORD);
    const loans = loan === undefined ? others : { ...others, [ref]: loan };
    writeFileSync(`${path}.new`, JSON.stringify(loans), { mode: 0o600, flush: true });
    renameSync(`${path}.new`, path);
  }
}

/** A machine that `list` says nothing of cannot be told from one that is off. */
function stateOf(loan: Loan, power: 'on' | 'off' = 'off'): MachineState | 'gone' {
  switch (loan.want) {
    case 'on':
      return power === 'on' ? 'running' : 'starting';
    case 'suspended':
      return power === 'off' ? 'suspended' : 'suspending';
    case 'off':
      return power === 'off' && loan.isOrdered ? 'gone' : 'terminating';
  }
}

function valuesOf({ name, ...keys }: FixedMachine, loan: Loan): HookValues {
  const { cluster, instanceId: instance, pool, node } = loan;
  const own = Object.entries(keys).map(([key, value]) => [`machine.${key}`, value] as const);
  return { cluster, instance, pool, node, ref: name, ...Object.fromEntries(own) };
}

function stateLine(line: string): readonly [string, 'on' | 'off'] {
  const form = 'write {"ref": "NAME", "state": "on"} or "off", one a line';
  let value: unknown;
  try {
    value = JSON.parse(line);
  } catch {
    throw new ProviderError('configuration', `list: ${shown(line)} is no JSON; ${form}`);
  }
  const { ref, state } = isRecord(value) ? value : {};
  if (typeof ref === 'string' && (state === 'on' || state === 'off')) return [ref, state];
  throw new ProviderError('configuration', `list: ${shown(line)}; ${form}`);
}

const NAME = /^[\w.-]+$/;

export function machinesSetting(given: unknown): readonly FixedMachine[] | Unfit {
  const form = 'write [{ name: gpu1, bmc: 10.0.0.11 }]';
  if (!Array.isArray(given) || given.length === 0) return new Unfit(`${shown(given)} is no list of machines; ${form}`);
  const strange = given.find((each) => !isFixedMachine(each));
  if (strange !== undefined) return new Unfit(`${shown(strange)} is no machine with a name and texts; ${form}`);
  const machines = given as readonly FixedMachine[];
  const twice = machines.find(({ name }, at) => machines.findIndex((other) => other.name === name) !== at);
  return twice === undefined ? machines : new Unfit(`${shown(twice.name)} is there twice; name each machine once`);
}

function isFixedMachine(value: unknown): value is FixedMachine {
  const isMap = isRecord(value) && Object.values(value).every((each) => typeof each === 'string');
  return isMap && NAME.test(String(value.name ?? ''));
}
