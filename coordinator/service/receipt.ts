import Type, { type Static } from 'typebox';
import type { EpochMs } from '../../shared/clock.js';
import type { Refusal } from '../../shared/errors.js';
import type { NodeId } from '../../shared/ids.js';
import type { Allocation } from '../model/allocation.js';
import type { LedgerEntry } from '../model/ledger.js';
import { heldMs, servedBy } from '../model/node-share.js';
import { type PowerCycle, powerCycles } from '../model/power-cycle.js';
import type { ClusterView } from '../model/state.js';
import { attemptsOfJob } from './job-attempts.js';
import { nullable } from './schemas.js';
import type { Service } from './service.js';

const milliseconds = Type.Number({ minimum: 0 });
const amount = Type.Number({ minimum: 0 });

export const receiptSchema = Type.Object({
  job: Type.String(),
  receipt: nullable(
    Type.Object({
      attempts: Type.Integer({ minimum: 1, description: 'Attempts on nodes of pools that have a price.' }),
      nodeMs: Type.Number({ minimum: 0, description: 'How long they held a place on their nodes.' }),
      servedMs: Type.Number({
        minimum: 0,
        description: 'Of that their shares of the nodes: an exclusive one has all.',
      }),
      overheadMs: Type.Number({
        minimum: 0,
        description: "Their part of their machines' boot, idle and power-off time.",
      }),
      parkedMs: Type.Number({
        minimum: 0,
        description: 'Their part of the time for which those had been suspended before.',
      }),
      cost: Type.Number({ minimum: 0, description: 'At the prices of its time.' }),
      overheadCost: Type.Number({
        minimum: 0,
        description: 'Of that, for what is not their own: overhead and parking.',
      }),
      isFinal: Type.Boolean({ description: 'Every machine that it ran on has been switched off since.' }),
      pools: Type.Array(
        Type.Object({
          ...{ pool: Type.String(), servedMs: milliseconds, overheadMs: milliseconds, parkedMs: milliseconds },
          cost: amount,
        }),
      ),
    }),
    'Null when nothing of it ran on a node that has a price, or when it has too many attempts.',
  ),
});
export type ReceiptView = Static<typeof receiptSchema>;

/** Beyond so many attempts nobody adds up a job. */
const MAX_ATTEMPTS = 20_000;

/** What a job has cost so far. Cost: O(its attempts + ledger entries * its nodes). */
export async function receiptOf(service: Service, jobId: string): Promise<ReceiptView | Refusal> {
  return attemptsOfJob(service, { jobId, limit: MAX_ATTEMPTS }, (view, job, attempts) => {
    const biller = new Biller(view, service);
    const items = (attempts ?? []).flatMap((attempt) => biller.itemOf(attempt) ?? []);
    return { job: job.id, receipt: items.length === 0 ? null : summed(items) };
  });
}

interface Item {
  readonly pool: string;
  readonly nodeMs: number;
  readonly servedMs: number;
  readonly overheadMs: number;
  readonly parkedMs: number;
  readonly cost: number;
  readonly overheadCost: number;
  readonly isFinal: boolean;
}

/**
 * What a machine has cost between two power-offs is paid by the attempts that it ran in between, in proportion to how long
 * each held which share of it: so what is paid for a machine that has worked at all is paid by somebody.
 */
class Biller {
  readonly #view: ClusterView;
  readonly #history: readonly LedgerEntry[];
  readonly #now: EpochMs;
  readonly #cycles = new Map<NodeId, readonly PowerCycle[]>();

  constructor(view: ClusterView, { clock, machines }: Pick<Service, 'clock' | 'machines'>) {
    this.#view = view;
    this.#history = machines.history();
    this.#now = clock.now();
  }

  /** Undefined when its node belongs to no pool, or to one that costs nothing. */
  itemOf(attempt: Allocation): Item | undefined {
    const cycle = this.#cyclesOf(attempt.nodeId).findLast(({ from }) => from <= attempt.committedAt);
    if (!cycle || cycle.onCost + cycle.parkedCost === 0) return undefined;
    const own = servedBy(attempt, this.#now);
    const all = Math.max(own, servedIn(this.#view, cycle, this.#now));
    const part = all > 0 ? own / all : 0;
    const paidMs = part * cycle.onMs;
    // Attempts that need different things hold more than the whole together.
    const servedMs = Math.min(own, paidMs);
    const cost = part * (cycle.onCost + cycle.parkedCost);
    return {
      pool: cycle.pool,
      nodeMs: heldMs(attempt, this.#now),
      servedMs,
      overheadMs: paidMs - servedMs,
      parkedMs: part * cycle.parkedMs,
      cost,
      overheadCost: cost - (paidMs > 0 ? (servedMs / paidMs) * part * cycle.onCost : 0),
      isFinal: cycle.until !== null,
    };
  }

  #cyclesOf(node: NodeId): readonly PowerCycle[] {
    const known = this.#cycles.get(node);
    if (known) return known;
    const own = this.#history.filter((entry) => entry.node === node);
    const made = powerCycles(own, this.#now);
    this.#cycles.set(node, made);
    return made;
  }
}

/** How long a machine's attempts have used it in a cycle, each by its share, those that run still included. */
export function servedIn({ index, instances, allocations }: ClusterView, cycle: PowerCycle, now: EpochMs): number {
  const { machine, node, until, servedBeforeMs } = cycle;
  if (until !== null) return cycle.servedMs - servedBeforeMs;
  let servedMs = Math.max(cycle.servedMs, instances.get(machine)?.servedMs ?? 0);
  for (const live of index.usage(node).live) {
    const attempt = allocations.get(live);
    if (attempt) servedMs += servedBy(attempt, now);
  }
  return servedMs - servedBeforeMs;
}

type Sums = Omit<NonNullable<ReceiptView['receipt']>['pools'][number], 'pool'>;

function summed(items: readonly Item[]): NonNullable<ReceiptView['receipt']> {
  const pools = new Map<string, Sums>();
  for (const item of items) pools.set(item.pool, added(pools.get(item.pool) ?? NOTHING, item));
  return {
    attempts: items.length,
    nodeMs: items.reduce((sum, { nodeMs }) => sum + nodeMs, 0),
    ...items.reduce(added, NOTHING),
    overheadCost: items.reduce((sum, { overheadCost }) => sum + overheadCost, 0),
    isFinal: items.every(({ isFinal }) => isFinal),
    pools: [...pools].map(([pool, sums]) => ({ pool, ...sums })),
  };
}

const NOTHING: Sums = { servedMs: 0, overheadMs: 0, parkedMs: 0, cost: 0 };

function added(sums: Sums, item: Sums): Sums {
  return {
    servedMs: sums.servedMs + item.servedMs,
    overheadMs: sums.overheadMs + item.overheadMs,
    parkedMs: sums.parkedMs + item.parkedMs,
    cost: sums.cost + item.cost,
  };
}
