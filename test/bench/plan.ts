import { parseArgs } from 'node:util';
import type { ClusterView } from '../../coordinator/model/state.js';
import { reserve } from '../../coordinator/scheduler/backfill.js';
import { holdMsOf } from '../../coordinator/scheduler/outlook.js';
import { Placer } from '../../coordinator/scheduler/placer.js';
import { DEFAULT_PLAN_POLICY, plan } from '../../coordinator/scheduler/plan.js';
import { ImmediatePricing } from '../../coordinator/scheduler/worth/pricing.js';
import { present } from '../../shared/assert.js';
import type { EpochMs } from '../../shared/clock.js';
import { jobIdOf } from '../../shared/ids.js';
import { rounded, say } from './figures.js';
import { crowded, DEMAND_CLASSES, fold, NOW } from './plan-shape.js';

/** A placement on the largest cluster may cost so many times one on the smallest, and so many a second are asked for. */
const REQUIRED = { perSecondOn: 5_000, placementsPerSecond: 100_000, growth: 3 } as const;

/**
 * Plans a long queue behind a head that is blocked on every node and has a reservation, as the engine does: batch by
 * batch, each committed before the next is planned, prices coming from their thread.
 *
 * Only planning is timed, by this process's CPU time, since others use the machine; the board is made, and kept in step
 * with the view, within it.
 */
export async function planning(args: string[]): Promise<object> {
  const { values } = parseArgs({
    args,
    options: { tasks: { type: 'string', default: '100000' }, nodes: { type: 'string', default: '500,5000,50000' } },
  });
  const taskCount = Number(values.tasks);
  // Once unmeasured, so that every size is measured on compiled code.
  const counts = values.nodes.split(',').map(Number);
  measure(present(counts[0], 'size'), taskCount);
  const sizes = counts.map((count) => measure(count, taskCount));
  const [first, last] = [present(sizes[0], 'first size'), present(sizes.at(-1), 'last size')];
  const asked = sizes.find(({ nodes }) => nodes === REQUIRED.perSecondOn) ?? last;
  return {
    taskCount,
    demandClasses: DEMAND_CLASSES,
    sizes,
    growth: rounded(last.microsPerPlacement / first.microsPerPlacement, 2),
    requiredGrowth: REQUIRED.growth,
    ratioToRequiredRate: rounded(asked.placementsPerSecond / REQUIRED.placementsPerSecond, 2),
  };
}

interface Measured {
  readonly nodes: number;
  readonly placed: number;
  readonly plannedCpuMs: number;
  readonly longestPlanCpuMs: number;
  readonly placementsPerSecond: number;
  readonly microsPerPlacement: number;
}

function measure(nodeCount: number, taskCount: number): Measured {
  const state = crowded(nodeCount, taskCount);
  const promisedAt = reservedAt(state);
  const pricing = new ImmediatePricing();
  // The daemon has its prices from a thread: here they are known before the first plan.
  new Placer(pricing).follow(state, DEFAULT_PLAN_POLICY.packing);
  const placer = new Placer(pricing);
  let placed = 0;
  let plannedMs = 0;
  let longestMs = 0;
  for (let isPartial = true; isPartial; ) {
    const before = process.cpuUsage();
    const made = plan(state, DEFAULT_PLAN_POLICY, NOW, placer);
    const { user, system } = process.cpuUsage(before);
    const tookMs = (user + system) / 1_000;
    plannedMs += tookMs;
    longestMs = Math.max(longestMs, tookMs);
    placed += made.placements.length;
    isPartial = made.isPartial;
    for (const placement of made.placements) fold(state, { type: 'allocation.committed', ...placement }, NOW);
  }
  if (reservedAt(state) !== promisedAt) throw new Error('the head was delayed by those that passed it');
  say(`${nodeCount} nodes: ${placed} placed in ${rounded(plannedMs)} CPU-ms`);
  return {
    nodes: nodeCount,
    placed,
    plannedCpuMs: rounded(plannedMs),
    longestPlanCpuMs: rounded(longestMs),
    placementsPerSecond: Math.round((1000 * placed) / plannedMs),
    microsPerPlacement: rounded((1000 * plannedMs) / placed, 2),
  };
}

/** When the head starts at the latest; without that, backfill has nothing to keep to. */
function reservedAt(view: ClusterView): EpochMs {
  const step = present(view.jobs.get(jobIdOf(2))?.steps.get('main'), 'the head');
  const reservation = reserve(view, { demand: step.demand, holdMs: holdMsOf(step.spec) }, { now: NOW });
  const startAt = reservation?.startAt ?? NOW;
  if (startAt <= NOW) throw new Error('the head has no reservation by time');
  return startAt;
}
