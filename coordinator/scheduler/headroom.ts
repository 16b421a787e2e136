import { present } from '../../shared/assert.js';
import { type Limits, type QuotaOwner, quotasOf } from '../../shared/limits.js';
import { secretKey } from '../../shared/secrets.js';
import { accountOf, addHoldings, type Holdings, holdingsOf, NO_HOLDINGS, scaleHoldings } from '../model/accounts.js';
import type { DemandClass } from '../model/demand.js';
import { holdingsOn } from '../model/hold.js';
import type { Step } from '../model/job.js';
import type { ReadyStep } from '../model/lanes.js';
import type { Node } from '../model/node.js';
import { type ClusterView, stepOf } from '../model/state.js';

/** What counts against a limit. */
export type LimitName =
  | { readonly kind: 'max-parallel' }
  | ({ readonly kind: 'quota'; readonly resource: Counted } & QuotaOwner)
  | { readonly kind: 'licence'; readonly name: string }
  /** It does not exist, so no task may start. */
  | { readonly kind: 'secret'; readonly name: string; readonly namespace: string };

export type Counted = keyof Holdings;

/** A limit that lets no more of a step's tasks start now: `used` of `limit` are taken, a task needs `needed`. */
export interface LimitReached {
  readonly what: LimitName;
  readonly limit: number;
  readonly used: number;
  readonly needed: number;
}

/** Whose step it is, as far as limits read it. */
export type Limited = Pick<ReadyStep, 'jobId' | 'step' | 'namespace' | 'user' | 'jobName'>;

interface Counter {
  readonly what: LimitName;
  readonly limit: number;
  used: number;
}

interface Charge {
  readonly counter: Counter;
  readonly amount: number;
}

/** Tasks of one step that start together. */
export interface Together {
  readonly count: number;
  /** Where each goes, if that is known: an exclusive task holds all of its node. */
  readonly nodes?: readonly Node[];
}

/** What the tasks count for in shares and quotas. */
export function holdingsTogether(demand: DemandClass, { count, nodes }: Together): Holdings {
  if (!nodes || !demand.exclusive) return count === 1 ? holdingsOf(demand) : scaleHoldings(holdingsOf(demand), count);
  return nodes.reduce((sum, node) => addHoldings(sum, holdingsOn(demand, node.inventory)), NO_HOLDINGS);
}

const COUNTED: readonly Counted[] = ['taskCount', 'cpuMillis', 'memoryMiB', 'gpuMillis'];

/**
 * How much more may start under the quotas, the licences and the steps' own `maxParallel`, while a plan is made.
 *
 * Used amounts come from the view and grow with each task taken; nothing is written to the view.
 * Cost: O(limits of the step) for a step's first task and for each one taken; at most 3 quotas of 4 resources.
 */
export class Headroom {
  readonly #view: ClusterView;
  readonly #limits: Limits;
  readonly #counters = new Map<string, Counter>();
  #last: { readonly entry: Limited; readonly count: number; readonly charges: readonly Charge[] } | undefined;

  constructor(view: ClusterView, limits: Limits) {
    this.#view = view;
    this.#limits = limits;
  }

  /** Counts tasks of the step, if every limit allows them; the limit that does not otherwise. */
  take(entry: Limited, tasks: Together): LimitReached | undefined {
    const charges = this.#chargesOf(entry, tasks);
    for (const { counter, amount } of charges)
      if (counter.used + amount > counter.limit) return reached(counter, amount);
    for (const { counter, amount } of charges) counter.used += amount;
    return undefined;
  }

  /** The limit that would keep tasks of the step from starting. */
  obstacle(entry: Limited, tasks: Together): LimitReached | undefined {
    for (const { counter, amount } of this.#chargesOf(entry, tasks)) {
      if (counter.used + amount > counter.limit) return reached(counter, amount);
    }
    return undefined;
  }

  #chargesOf(entry: Limited, tasks: Together): readonly Charge[] {
    const { count } = tasks;
    if (this.#last?.entry === entry && this.#last.count === count) return this.#last.charges;
    const step = present(stepOf(this.#view, entry), `step ${entry.step} of ${entry.jobId}`);
    const needed = holdingsTogether(step.demand, tasks);
    const own = [
      ...this.#ofSecrets(entry, step),
      ...this.#ofStep(entry, step, count),
      ...this.#ofLicences(step, count),
    ];
    const charges = [...own, ...this.#ofQuotas(entry, needed)];
    // What an exclusive task holds differs from node to node.
    if (!step.demand.exclusive) this.#last = { entry, count, charges };
    return charges;
  }

  #ofSecrets({ namespace }: Limited, step: Step): Charge[] {
    const missing = (step.spec.secrets ?? []).filter(
      ({ name }) => !this.#limits.secretKeys.has(secretKey(namespace, name)),
    );
    return missing.map(({ name }) => {
      const make = (): Counter => ({ what: { kind: 'secret', name, namespace }, limit: 0, used: 0 });
      return { counter: this.#counter(`secret ${namespace} ${name}`, make), amount: 1 };
    });
  }

  #ofStep({ jobId, step: name }: Limited, step: Step, count: number): Charge[] {
    const limit = step.spec.maxParallel;
    if (limit === undefined) return [];
    const make = (): Counter => ({ what: { kind: 'max-parallel' }, limit, used: step.counts.placed });
    return [{ counter: this.#counter(`step ${jobId} ${name}`, make), amount: count }];
  }

  #ofQuotas(entry: Limited, needed: Holdings): Charge[] {
    const charges: Charge[] = [];
    for (const { owner, name, quota } of quotasOf(this.#limits, entry)) {
      const account = accountOf(this.#view.index.accounts, owner, entry);
      const whose = owner === 'job' ? `job ${entry.namespace} ${name}` : `${owner} ${name}`;
      for (const resource of COUNTED) {
        const limit = quota[resource];
        if (limit === undefined || needed[resource] === 0) continue;
        const what = { kind: 'quota', owner, name, resource } as const;
        const make = (): Counter => ({ what, limit, used: account.running[resource] });
        charges.push({ counter: this.#counter(`${whose} ${resource}`, make), amount: needed[resource] });
      }
    }
    return charges;
  }

  #ofLicences(step: Step, count: number): Charge[] {
    return Object.entries(step.spec.resources.licences ?? {}).map(([name, each]) => {
      const limit = this.#limits.licences.get(name) ?? 0;
      const used = this.#view.index.accounts.licencesHeld(name);
      return {
        counter: this.#counter(`licence ${name}`, () => ({ what: { kind: 'licence', name }, limit, used })),
        amount: count * each,
      };
    });
  }

  #counter(key: string, make: () => Counter): Counter {
    const known = this.#counters.get(key);
    if (known) return known;
    const made = make();
    this.#counters.set(key, made);
    return made;
  }
}

function reached({ what, limit, used }: Counter, needed: number): LimitReached {
  return { what, limit, used, needed };
}
