import type { EpochMs } from '../../shared/clock.js';
import type { AllocationId, NodeId } from '../../shared/ids.js';
import type { QuotaOwner, Submitter } from '../../shared/limits.js';
import { gpuWorthMillis } from '../../shared/resources.js';
import type { Inventory } from '../../shared/wire/messages.js';
import { type Allocation, heldGpuMillis } from './allocation.js';
import type { DemandClass } from './demand.js';
import type { Job, Step } from './job.js';

/** An amount of what fair shares and quotas count. */
export interface Holdings {
  readonly cpuMillis: number;
  readonly memoryMiB: number;
  readonly gpuMillis: number;
  readonly taskCount: number;
}

export const NO_HOLDINGS: Holdings = { cpuMillis: 0, memoryMiB: 0, gpuMillis: 0, taskCount: 0 };

/** After so long, what was held counts half: a week, as Slurm has it (PriorityDecayHalfLife). */
export const USAGE_HALF_LIFE_MS = 7 * 24 * 60 * 60 * 1000;

/** What a namespace, a user, or a user within a namespace holds, has held, and has waiting. */
export interface AccountView {
  /** Held by live allocations. */
  readonly running: Holdings;
  /** Tasks that are neither placed nor done. */
  readonly waitingCount: number;
  /**
   * The mean of what was held, each moment weighing half as much as one USAGE_HALF_LIFE_MS later.
   *
   * @param now  epoch ms; not before the last change
   */
  meanAt(now: EpochMs): Holdings;
}

/** There may be any number of names, so nothing is remembered of one that has neither. */
export type NamedAccountView = Pick<AccountView, 'running' | 'waitingCount'>;

export interface AccountsView {
  namespace(name: string): AccountView;
  /** In all namespaces. */
  user(name: string): AccountView;
  member(namespace: string, user: string): AccountView;
  /** Of the jobs of a name in a namespace. */
  named(namespace: string, jobName: string): NamedAccountView;
  /** How many of a licence live allocations hold. */
  licencesHeld(name: string): number;
  /** Names of jobs, by namespace, that have tasks which wait or run. */
  readonly namedCount: number;
  /** Live allocations of a node that end by a time limit, if not before, or that are being stopped. */
  endingOn(nodeId: NodeId): ReadonlySet<AllocationId>;
  /** Of all known nodes. */
  readonly capacity: Holdings;
}

/** The account that a quota of such an owner is kept on. */
export function accountOf(accounts: AccountsView, owner: QuotaOwner['owner'], who: Submitter): NamedAccountView {
  switch (owner) {
    case 'namespace':
      return accounts.namespace(who.namespace);
    case 'user':
      return accounts.user(who.user);
    case 'job':
      return accounts.named(who.namespace, who.jobName);
  }
}

/**
 * What one more task of a demand counts for. An amount of GPU memory counts as a whole device until its device is
 * known, and a MIG slice as the part that it is of its GPU.
 */
export function holdingsOf({ resources: { cpuMillis, memoryMiB }, gpus }: DemandClass): Holdings {
  const gpuMillis = gpus === null ? 0 : gpus.count * (gpus.shareMillis ?? gpuWorthMillis(gpus));
  return { cpuMillis, memoryMiB, gpuMillis, taskCount: 1 };
}

function heldBy(allocation: Allocation): Holdings {
  const { cpuMillis, memoryMiB } = allocation.resources;
  return { cpuMillis, memoryMiB, gpuMillis: allocation.countedMillis ?? heldMillis(allocation), taskCount: 1 };
}

function heldMillis(allocation: Allocation): number {
  let millis = 0;
  for (let position = 0; position < allocation.gpus.length; position += 1)
    millis += heldGpuMillis(allocation, position);
  return millis;
}

export function addHoldings(left: Holdings, right: Holdings, sign: 1 | -1 = 1): Holdings {
  return {
    cpuMillis: left.cpuMillis + sign * right.cpuMillis,
    memoryMiB: left.memoryMiB + sign * right.memoryMiB,
    gpuMillis: left.gpuMillis + sign * right.gpuMillis,
    taskCount: left.taskCount + sign * right.taskCount,
  };
}

export function scaleHoldings(amount: Holdings, factor: number): Holdings {
  return {
    cpuMillis: factor * amount.cpuMillis,
    memoryMiB: factor * amount.memoryMiB,
    gpuMillis: factor * amount.gpuMillis,
    taskCount: factor * amount.taskCount,
  };
}

/** An allocation with what it is an attempt of. */
interface Held {
  readonly job: Job;
  readonly step: Step;
  readonly allocation: Allocation;
}

type StoredMeans = readonly (readonly [key: string, changedAt: EpochMs, mean: Holdings])[];

/** The means of all accounts; JSON keeps a number to its last bit. */
export interface StoredAccounts {
  readonly namespaces: StoredMeans;
  readonly users: StoredMeans;
  readonly members: StoredMeans;
}

/**
 * Who holds how much: derived from the events and their times alone, so that replay equals live.
 *
 * Between two changes an account holds a constant amount, so its decaying mean has a closed form and needs no tick:
 * mean(t) = mean(t0) * f + held * (1 - f), f = 2^-((t - t0) / half-life).
 */
export class Accounts implements AccountsView {
  capacity: Holdings = NO_HOLDINGS;
  readonly #namespaces = new Map<string, Account>();
  readonly #users = new Map<string, Account>();
  readonly #members = new Map<string, Account>();
  readonly #named = new Map<string, NamedAccountView>();
  readonly #licences = new Map<string, number>();
  readonly #ending = new Map<NodeId, Set<AllocationId>>();

  namespace(name: string): AccountView {
    return this.#namespaces.get(name) ?? EMPTY;
  }

  user(name: string): AccountView {
    return this.#users.get(name) ?? EMPTY;
  }

  member(namespace: string, user: string): AccountView {
    return this.#members.get(pairKey(namespace, user)) ?? EMPTY;
  }

  named(namespace: string, jobName: string): NamedAccountView {
    return this.#named.get(pairKey(namespace, jobName)) ?? EMPTY;
  }

  get namedCount(): number {
    return this.#named.size;
  }

  licencesHeld(name: string): number {
    return this.#licences.get(name) ?? 0;
  }

  endingOn(nodeId: NodeId): ReadonlySet<AllocationId> {
    return this.#ending.get(nodeId) ?? NONE_ENDING;
  }

  /** An allocation began (1) or ended (-1). Cost: O(GPUs + licences). */
  held({ job, step, allocation }: Held, sign: 1 | -1, at: EpochMs): void {
    const amount = heldBy(allocation);
    for (const account of this.#accountsOf(job)) account.change(amount, sign, at);
    this.#changeNamed(job, amount, { sign, waiting: 0 });
    this.#count(step, allocation, sign);
  }

  /** An allocation of a snapshot lives on: the means that were stored know of it already. */
  stillHeld({ job, step, allocation }: Held): void {
    const amount = heldBy(allocation);
    for (const account of this.#accountsOf(job)) account.running = addHoldings(account.running, amount);
    this.#changeNamed(job, amount, { sign: 1, waiting: 0 });
    this.#count(step, allocation, 1);
  }

  /** What no record in memory tells any more. */
  stored(): StoredAccounts {
    const meansOf = (accounts: ReadonlyMap<string, Account>): StoredMeans =>
      [...accounts].map(([key, account]) => [key, account.changedAt, account.mean]);
    return {
      namespaces: meansOf(this.#namespaces),
      users: meansOf(this.#users),
      members: meansOf(this.#members),
    };
  }

  /** Call first, before jobs and allocations of the snapshot are entered. */
  restore({ namespaces, users, members }: StoredAccounts): void {
    const enter = (accounts: Map<string, Account>, means: StoredMeans): void => {
      for (const [key, changedAt, mean] of means) Object.assign(accountIn(accounts, key), { changedAt, mean });
    };
    enter(this.#namespaces, namespaces);
    enter(this.#users, users);
    enter(this.#members, members);
  }

  #changeNamed(
    { spec: { namespace, name } }: Job,
    amount: Holdings,
    { sign, waiting }: { readonly sign: 1 | -1; readonly waiting: number },
  ): void {
    const key = pairKey(namespace, name);
    const known = this.#named.get(key) ?? EMPTY;
    const running = addHoldings(known.running, amount, sign);
    const waitingCount = known.waitingCount + waiting;
    if (running.taskCount === 0 && waitingCount === 0) this.#named.delete(key);
    else this.#named.set(key, { running, waitingCount });
  }

  #count(step: Step, allocation: Allocation, sign: 1 | -1): void {
    for (const [name, count] of Object.entries(step.spec.resources.licences ?? {})) {
      this.#licences.set(name, this.licencesHeld(name) + sign * count);
    }
    if (sign === -1) this.#ended(allocation);
    else if (step.spec.timeLimitMs !== null) this.ending(allocation);
  }

  /** The allocation will end by itself, or has been asked to. */
  ending({ id, nodeId }: Allocation): void {
    const known = this.#ending.get(nodeId);
    if (known) known.add(id);
    else this.#ending.set(nodeId, new Set([id]));
  }

  #ended({ id, nodeId }: Allocation): void {
    const known = this.#ending.get(nodeId);
    known?.delete(id);
    if (known?.size === 0) this.#ending.delete(nodeId);
  }

  waiting(job: Job, difference: number): void {
    for (const account of this.#accountsOf(job)) account.waitingCount += difference;
    this.#changeNamed(job, NO_HOLDINGS, { sign: 1, waiting: difference });
  }

  /** A node came, changed or went. */
  nodeChanged(before: Inventory | undefined, after: Inventory | undefined): void {
    if (before) this.capacity = addHoldings(this.capacity, capacityOf(before), -1);
    if (after) this.capacity = addHoldings(this.capacity, capacityOf(after));
  }

  #accountsOf({ spec: { namespace }, submittedBy }: Job): readonly Account[] {
    return [
      accountIn(this.#namespaces, namespace),
      accountIn(this.#users, submittedBy),
      accountIn(this.#members, pairKey(namespace, submittedBy)),
    ];
  }
}

/**
 * Enters the records of a snapshot of version 1, which held every allocation and no means, as the events would have done:
 * in order of time, so that means come out the same.
 *
 * Cost: O(allocations log allocations).
 */
export function replayHoldings(
  accounts: Accounts,
  allocations: Iterable<Allocation>,
  placeOf: (allocation: Allocation) => { readonly job: Job; readonly step: Step },
): void {
  const changes: { readonly at: EpochMs; readonly sign: 1 | -1; readonly allocation: Allocation }[] = [];
  for (const allocation of allocations) {
    changes.push({ at: allocation.committedAt, sign: 1, allocation });
    const { phase } = allocation;
    if (phase.kind === 'ended') changes.push({ at: phase.at, sign: -1, allocation });
  }
  changes.sort((left, right) => left.at - right.at);
  for (const { at, sign, allocation } of changes) accounts.held({ ...placeOf(allocation), allocation }, sign, at);
}

class Account implements AccountView {
  running: Holdings = NO_HOLDINGS;
  waitingCount = 0;
  mean: Holdings = NO_HOLDINGS;
  changedAt: EpochMs = 0;

  change(amount: Holdings, sign: 1 | -1, at: EpochMs): void {
    this.mean = this.meanAt(at);
    // A clock that was set back must not decay twice.
    this.changedAt = Math.max(this.changedAt, at);
    this.running = addHoldings(this.running, amount, sign);
  }

  meanAt(now: EpochMs): Holdings {
    const kept = 2 ** (-Math.max(0, now - this.changedAt) / USAGE_HALF_LIFE_MS);
    if (kept === 1) return this.mean;
    const mean = (before: number, held: number): number => before * kept + held * (1 - kept);
    return {
      cpuMillis: mean(this.mean.cpuMillis, this.running.cpuMillis),
      memoryMiB: mean(this.mean.memoryMiB, this.running.memoryMiB),
      gpuMillis: mean(this.mean.gpuMillis, this.running.gpuMillis),
      taskCount: mean(this.mean.taskCount, this.running.taskCount),
    };
  }
}

const NONE_ENDING: ReadonlySet<AllocationId> = new Set();

const EMPTY: AccountView = new Account();

function accountIn(accounts: Map<string, Account>, key: string): Account {
  const known = accounts.get(key);
  if (known) return known;
  const made = new Account();
  accounts.set(key, made);
  return made;
}

/** A namespace's name has no space. */
function pairKey(namespace: string, user: string): string {
  return `${namespace} ${user}`;
}

function capacityOf({ capacity: { cpuMillis, memoryMiB }, gpus }: Inventory): Holdings {
  let gpuMillis = 0;
  for (const device of gpus) if (device.fault === undefined) gpuMillis += gpuWorthMillis(device);
  return { cpuMillis, memoryMiB, gpuMillis, taskCount: 0 };
}
