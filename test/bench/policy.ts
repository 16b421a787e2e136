import { parseArgs } from 'node:util';
import type { ElasticDecision } from '../../coordinator/elastic/policy/decision.js';
import { scale } from '../../coordinator/elastic/policy.js';
import { scalingEvent } from '../../coordinator/engine/scaling.js';
import type { ClusterState } from '../../coordinator/model/state.js';
import { DEFAULT_PLAN_POLICY } from '../../coordinator/scheduler/plan.js';
import { percentile, rounded, say } from './figures.js';
import { fold } from './plan-shape.js';
import { DEMANDS, NOW, POOLS, type PolicyShape, rented } from './policy-shape.js';

/** One decision holds up the engine for no longer. */
const LIMIT_MS = 50;
/** Decisions that follow each other, a second apart, each with what the one before has ordered. */
const DECISIONS = 10;

/**
 * What one decision about machines costs the engine on a large cluster, in this process's CPU time: with everything busy
 * and a long queue, and with everything idle and nothing waiting, when every machine is asked whether it may go.
 */
export async function policy(args: string[]): Promise<object> {
  const { values } = parseArgs({
    args,
    options: { machines: { type: 'string', default: '2000' }, tasks: { type: 'string', default: '50000' } },
  });
  const machineCount = Number(values.machines);
  const taskCount = Number(values.tasks);
  const busy = measure({ machineCount, taskCount, machines: 'busy' });
  const idle = measure({ machineCount, taskCount: 0, machines: 'idle' });
  const longestMs = Math.max(busy.longestMs, idle.longestMs);
  return {
    ...{ machineCount, taskCount, pools: POOLS, demandClasses: DEMANDS, busy, idle },
    limitMs: LIMIT_MS,
    ratioToLimit: rounded(longestMs / LIMIT_MS, 2),
  };
}

interface Measured {
  readonly medianMs: number;
  readonly longestMs: number;
  readonly ordered: number;
  readonly closed: number;
}

function measure(shape: PolicyShape): Measured {
  // Once unmeasured, so that compiled code is measured.
  run(rented(shape));
  const { took, decisions } = run(rented(shape));
  const closed = decisions.filter(({ kind }) => kind === 'close').length;
  say(`${shape.machines}: ${decisions.length} decided in ${took.map((each) => rounded(each)).join(', ')} ms`);
  return {
    medianMs: rounded(percentile(took, 0.5)),
    longestMs: rounded(Math.max(...took)),
    ordered: decisions.length - closed,
    closed,
  };
}

function run(state: ClusterState): { readonly took: readonly number[]; readonly decisions: ElasticDecision[] } {
  const decisions: ElasticDecision[] = [];
  const took = Array.from({ length: DECISIONS }, (_, second) => {
    const now = NOW + second * 1_000;
    const before = process.cpuUsage();
    const made = scale(state, { planning: DEFAULT_PLAN_POLICY }, now);
    const { user, system } = process.cpuUsage(before);
    for (const decision of made.decisions) fold(state, scalingEvent(state, decision), now);
    decisions.push(...made.decisions);
    return (user + system) / 1_000;
  });
  return { took, decisions };
}
