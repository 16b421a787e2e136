import type { EpochMs } from '../../../shared/clock.js';
import type { DemandClass } from '../../model/demand.js';
import { slotsOnEmpty } from '../../model/feasible.js';
import type { Pool } from '../../model/pool.js';
import type { ClusterView } from '../../model/state.js';

/** The tasks that are expected of the demands at home in one pool, in slots of the demand that takes most of it. */
export interface Expected {
  readonly demand: DemandClass;
  readonly streams: readonly Stream[];
}

interface Stream {
  /** Submissions in a millisecond. */
  readonly perMs: number;
  /** Slots that one submission takes. */
  readonly slots: number;
  readonly runMs: number;
}

/** Undefined when nothing is expected. */
export function expectedFor(
  view: ClusterView,
  { pool, demands, now }: { readonly pool: Pool; readonly demands: readonly DemandClass[]; readonly now: EpochMs },
): Expected | undefined {
  const { experience } = view.index;
  const rows = demands.flatMap((demand) => {
    const { perMs, batch } = experience.arrivals(demand, now);
    const perNode = slotsOnEmpty(demand, pool.nodeClass);
    const runMs = experience.runMs(demand, '') ?? experience.usualRunMs;
    return perMs > 0 && perNode > 0 ? [{ demand, perMs, batch, perNode, runMs }] : [];
  });
  const [main] = rows.toSorted((left, right) => load(right) - load(left));
  if (!main) return undefined;
  const streams = rows.map(({ perMs, batch, perNode, runMs }) => {
    return { perMs, slots: (batch * main.perNode) / perNode, runMs };
  });
  return { demand: main.demand, streams };
}

function load({ perMs, batch, perNode }: { perMs: number; batch: number; perNode: number }): number {
  return (perMs * batch) / perNode;
}

/**
 * How likely it is, at each of these moments, that a submission then finds no room, in a millisecond; and what has come
 * before is still there. Submissions come by chance (Poisson) and hold their slots for as long as tasks run.
 *
 * @param free  slots that are free at each moment if nothing comes
 */
export function shortageRates(
  { streams }: Expected,
  free: readonly number[],
  offsetsMs: readonly number[],
): readonly number[] {
  const perMs = streams.reduce((sum, stream) => sum + stream.perMs, 0);
  return offsetsMs.map((offsetMs, position) => {
    let mean = 0;
    let square = 0;
    for (const { perMs: rate, slots, runMs } of streams) {
      const submissions = rate * Math.min(offsetMs, runMs);
      mean += submissions * slots;
      square += submissions * slots * slots;
    }
    const size = mean > 0 ? square / mean : 1;
    return perMs * atLeast(mean / size, Math.ceil((free[position] ?? 0) / size));
  });
}

/** The chance that a Poisson number is at least so large. */
function atLeast(mean: number, count: number): number {
  let term = Math.exp(-mean);
  let below = 0;
  for (let each = 0; each < count && each < MAX_TERMS; each += 1) {
    below += term;
    term *= mean / (each + 1);
  }
  return Math.max(0, 1 - below);
}

const MAX_TERMS = 1_000;
