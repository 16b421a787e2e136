import Type, { type Static } from 'typebox';
import type { InstanceId } from '../../shared/ids.js';
import type { LedgerEntry, MachineSpan, Window } from '../model/ledger.js';
import { isFree } from '../model/machine-times.js';
import type { PowerCycle } from '../model/power-cycle.js';
import type { ClusterView } from '../model/state.js';
import { nullable } from './schemas.js';

const count = Type.Integer({ minimum: 0 });
const milliseconds = Type.Number({ minimum: 0 });

export const poolReportSchema = Type.Object({
  pool: Type.String(),
  onMs: Type.Number({ minimum: 0, description: 'Of all its machines together, while they were paid for as on.' }),
  busyMs: Type.Number({ minimum: 0, description: 'Of that, while their nodes held something.' }),
  idleMs: Type.Number({ minimum: 0, description: 'Of that, while they could have.' }),
  bootMs: Type.Number({ minimum: 0, description: 'Of that, while they booted or resumed.' }),
  offMs: Type.Number({ minimum: 0, description: 'Of that, while they were switched off.' }),
  suspendedMs: milliseconds,
  powerOnCount: count,
  failedPowerOnCount: count,
  cost: nullable(Type.Number({ minimum: 0 }), 'At the prices of its time; null when the pool has none.'),
  unusedCost: nullable(
    Type.Number({ minimum: 0 }),
    'Of that, of machines that ran nothing between two power-offs; the rest is in the receipts of jobs.',
  ),
});
export type PoolReport = Static<typeof poolReportSchema>;

interface Seen {
  readonly entries: readonly LedgerEntry[];
  readonly spans: readonly MachineSpan[];
  readonly cycles: readonly PowerCycle[];
  readonly window: Window;
  /** How long a machine's attempts have used it in a cycle. */
  readonly servedIn: (cycle: PowerCycle) => number;
}

type Sums = { -readonly [Key in Exclude<keyof PoolReport, 'pool'>]: number };

/** For each pool that there is or was in this time. */
export function reportPools(view: ClusterView, seen: Seen): PoolReport[] {
  const { entries, spans, window } = seen;
  const sums = new Map<string, Sums>([...view.pools.keys()].map((pool) => [pool, nothing()]));
  const sumsOf = (pool: string): Sums => {
    const known = sums.get(pool) ?? nothing();
    sums.set(pool, known);
    return known;
  };
  for (const span of spans) addSpan(sumsOf(span.pool), span);
  for (const { pool, cost } of unusedSpans(seen)) sumsOf(pool).unusedCost += cost;
  for (const { pool, state, at, failed } of entries) {
    if (at < window.from || at >= window.until) continue;
    if (state === 'booting' || state === 'resuming') sumsOf(pool).powerOnCount += 1;
    if (failed) sumsOf(pool).failedPowerOnCount += 1;
  }
  return [...sums].map(([pool, own]) => {
    const prices = view.pools.get(pool)?.spec.prices;
    const isPriced = own.cost > 0 || (prices !== undefined && !isFree(prices));
    return isPriced ? { pool, ...own } : { pool, ...own, cost: null, unusedCost: null };
  });
}

/** Those of cycles in which the machine ran nothing. */
function unusedSpans({ spans, cycles, servedIn }: Seen): MachineSpan[] {
  const unused = new Map<InstanceId, PowerCycle[]>();
  for (const cycle of cycles) {
    if (servedIn(cycle) > 0) continue;
    const known = unused.get(cycle.machine);
    if (known) known.push(cycle);
    else unused.set(cycle.machine, [cycle]);
  }
  return spans.filter(({ machine, from }) =>
    unused.get(machine)?.some((cycle) => cycle.from <= from && (cycle.until === null || from < cycle.until)),
  );
}

function nothing(): Sums {
  return {
    ...{ onMs: 0, busyMs: 0, idleMs: 0, bootMs: 0, offMs: 0, suspendedMs: 0 },
    ...{ powerOnCount: 0, failedPowerOnCount: 0, cost: 0, unusedCost: 0 },
  };
}

function addSpan(sums: Sums, { state, from, until, busyMs, cost }: MachineSpan): void {
  const spentMs = until - from;
  sums.cost += cost;
  if (state === 'suspended') {
    sums.suspendedMs += spentMs;
    return;
  }
  sums.onMs += spentMs;
  switch (state) {
    case 'booting':
    case 'resuming':
      sums.bootMs += spentMs;
      return;
    case 'switching off':
      sums.offMs += spentMs;
      return;
    case 'busy':
    case 'idle':
      sums.busyMs += busyMs;
      sums.idleMs += spentMs - busyMs;
      return;
  }
}
