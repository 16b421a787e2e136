import Type, { type Static } from 'typebox';
import type { LedgerEntry, MachineSpan, Window } from '../model/ledger.js';
import { costOf } from '../model/machine-times.js';
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
  cost: nullable(Type.Number({ minimum: 0 }), 'At the prices of now; null when the pool has none.'),
});
export type PoolReport = Static<typeof poolReportSchema>;

interface Seen {
  readonly entries: readonly LedgerEntry[];
  readonly spans: readonly MachineSpan[];
  readonly window: Window;
}

type Sums = { -readonly [Key in Exclude<keyof PoolReport, 'pool' | 'cost'>]: number };

/** For each pool that there is or was in this time. */
export function reportPools(view: ClusterView, { entries, spans, window }: Seen): PoolReport[] {
  const sums = new Map<string, Sums>([...view.pools.keys()].map((pool) => [pool, nothing()]));
  const sumsOf = (pool: string): Sums => {
    const known = sums.get(pool) ?? nothing();
    sums.set(pool, known);
    return known;
  };
  for (const span of spans) addSpan(sumsOf(span.pool), span);
  for (const { pool, state, at, failed } of entries) {
    if (at < window.from || at >= window.until) continue;
    if (state === 'booting' || state === 'resuming') sumsOf(pool).powerOnCount += 1;
    if (failed) sumsOf(pool).failedPowerOnCount += 1;
  }
  return [...sums].map(([pool, own]) => {
    const prices = view.pools.get(pool)?.spec.prices;
    return { pool, ...own, cost: prices ? costOf(prices, own) : null };
  });
}

function nothing(): Sums {
  return {
    ...{ onMs: 0, busyMs: 0, idleMs: 0, bootMs: 0, offMs: 0, suspendedMs: 0 },
    ...{ powerOnCount: 0, failedPowerOnCount: 0 },
  };
}

function addSpan(sums: Sums, { state, from, until, busyMs }: MachineSpan): void {
  const spentMs = until - from;
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
