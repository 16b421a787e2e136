import Type, { type Static } from 'typebox';
import type { EpochMs } from '../../shared/clock.js';
import type { Refusal } from '../../shared/errors.js';
import type { NodeId } from '../../shared/ids.js';
import type { Allocation } from '../model/allocation.js';
import { type PowerCycle, powerCycles } from '../model/ledger.js';
import { nodeShare } from '../model/node-share.js';
import type { Pool } from '../model/pool.js';
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
      cost: amount,
      overheadCost: Type.Number({ minimum: 0, description: 'What the overhead is of the cost.' }),
      isFinal: Type.Boolean({ description: 'Every machine that it ran on has been switched off since.' }),
      pools: Type.Array(
        Type.Object({ pool: Type.String(), servedMs: milliseconds, overheadMs: milliseconds, cost: amount }),
      ),
    }),
    'Null when nothing of it ran on a node that has a price, or when it has too many attempts.',
  ),
});
export type ReceiptView = Static<typeof receiptSchema>;

/** Beyond so many attempts nobody adds up a job. */
const MAX_ATTEMPTS = 20_000;
const HOUR_MS = 3_600_000;

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
  readonly pricePerHour: number;
  readonly isFinal: boolean;
}

/**
 * All that a machine was on between two times off is paid by the attempts that it ran in between, in proportion to how long
 * each held which share of it: so what is paid for a machine that has worked at all is paid by somebody.
 */
class Biller {
  readonly #view: ClusterView;
  readonly #service: Pick<Service, 'clock' | 'machines'>;
  readonly #cycles = new Map<NodeId, readonly PowerCycle[]>();

  constructor(view: ClusterView, service: Pick<Service, 'clock' | 'machines'>) {
    this.#view = view;
    this.#service = service;
  }

  /** Undefined when its node belongs to no pool that has a price. */
  itemOf(attempt: Allocation): Item | undefined {
    const cycle = this.#cyclesOf(attempt.nodeId).findLast(({ from }) => from <= attempt.committedAt);
    const pool = cycle && this.#view.pools.get(cycle.pool);
    if (!pool || pool.spec.prices.onPerHour === 0) return undefined;
    const now = this.#service.clock.now();
    const own = this.#served(attempt, pool, now);
    const onMs = (cycle.until ?? now) - cycle.from;
    const all = Math.max(own, this.#servedIn(cycle, attempt.nodeId, pool));
    const overhead = all > 0 ? Math.max(0, onMs / all - 1) : 0;
    return {
      pool: cycle.pool,
      nodeMs: heldMs(attempt, now),
      // Attempts that need different things hold more than the whole together.
      servedMs: own * Math.min(1, all > 0 ? onMs / all : 1),
      overheadMs: own * overhead,
      pricePerHour: pool.spec.prices.onPerHour,
      isFinal: cycle.until !== null,
    };
  }

  #cyclesOf(node: NodeId): readonly PowerCycle[] {
    const known = this.#cycles.get(node);
    if (known) return known;
    const made = powerCycles(this.#service.machines.history(), node);
    this.#cycles.set(node, made);
    return made;
  }

  #servedIn(cycle: PowerCycle, node: NodeId, pool: Pool): number {
    if (cycle.until !== null) return cycle.servedMs - cycle.servedBeforeMs;
    const { index, instances, allocations } = this.#view;
    const id = index.instanceByNode.get(node);
    let servedMs = (id && instances.get(id)?.servedMs) ?? cycle.servedMs;
    const now = this.#service.clock.now();
    for (const live of index.usage(node).live) {
      const attempt = allocations.get(live);
      if (attempt) servedMs += this.#served(attempt, pool, now);
    }
    return servedMs - cycle.servedBeforeMs;
  }

  #served(attempt: Allocation, { spec, nodeClass }: Pool, now: EpochMs): number {
    // A node that is gone was as those of its pool are.
    const offered = this.#view.nodes.get(attempt.nodeId)?.inventory ?? nodeClass;
    return heldMs(attempt, now) * (spec.exclusive ? 1 : nodeShare(attempt, offered));
  }
}

function heldMs({ committedAt, phase }: Allocation, now: EpochMs): number {
  return Math.max(0, (phase.kind === 'ended' ? phase.at : now) - committedAt);
}

function summed(items: readonly Item[]): NonNullable<ReceiptView['receipt']> {
  const pools = new Map<string, { pool: string; servedMs: number; overheadMs: number; cost: number }>();
  const total = { attempts: items.length, nodeMs: 0, servedMs: 0, overheadMs: 0, cost: 0, overheadCost: 0 };
  for (const { pool, nodeMs, servedMs, overheadMs, pricePerHour } of items) {
    const own = pools.get(pool) ?? { pool, servedMs: 0, overheadMs: 0, cost: 0 };
    const cost = ((servedMs + overheadMs) * pricePerHour) / HOUR_MS;
    pools.set(pool, {
      pool,
      servedMs: own.servedMs + servedMs,
      overheadMs: own.overheadMs + overheadMs,
      cost: own.cost + cost,
    });
    total.nodeMs += nodeMs;
    total.servedMs += servedMs;
    total.overheadMs += overheadMs;
    total.cost += cost;
    total.overheadCost += (overheadMs * pricePerHour) / HOUR_MS;
  }
  return { ...total, isFinal: items.every(({ isFinal }) => isFinal), pools: [...pools.values()] };
}
