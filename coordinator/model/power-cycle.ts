import type { EpochMs } from '../../shared/clock.js';
import type { InstanceId, NodeId } from '../../shared/ids.js';
import { costIn, type LedgerEntry } from './ledger.js';

/**
 * From one power-off of a machine, or its beginning, to the next: what the attempts that it runs meanwhile pay for
 * together. That it was parked before is theirs too: it was kept for whoever needs it next.
 */
export interface PowerCycle {
  readonly machine: InstanceId;
  readonly node: NodeId;
  readonly pool: string;
  readonly from: EpochMs;
  /** Null while it lasts. */
  readonly until: EpochMs | null;
  readonly onMs: number;
  readonly parkedMs: number;
  readonly onCost: number;
  readonly parkedCost: number;
  /** `servedMs` of the machine when it began, and when it was written down last. */
  readonly servedBeforeMs: number;
  readonly servedMs: number;
}

/** Each machine's in order, up to now. Cost: O(entries). */
export function powerCycles(entries: readonly LedgerEntry[], now: EpochMs): PowerCycle[] {
  const open = new Map<InstanceId, Begun>();
  const cycles: PowerCycle[] = [];
  for (const entry of entries) {
    const before = open.get(entry.machine);
    const cycle = before ? continued(before, entry) : begun(entry);
    const isGone = entry.state === 'gone';
    const isOver = isGone || (before !== undefined && before.last.state !== 'suspended' && entry.state === 'suspended');
    if (isOver) cycles.push({ ...cycle, until: entry.at });
    if (isGone) open.delete(entry.machine);
    else open.set(entry.machine, { cycle: isOver ? begun(entry) : cycle, last: entry });
  }
  for (const each of open.values()) cycles.push(continued(each, { ...each.last, at: Math.max(each.last.at, now) }));
  return cycles;
}

interface Begun {
  readonly cycle: PowerCycle;
  readonly last: LedgerEntry;
}

function begun({ machine, node, pool, at, servedMs }: LedgerEntry): PowerCycle {
  const nothing = { onMs: 0, parkedMs: 0, onCost: 0, parkedCost: 0 };
  return { machine, node, pool, from: at, until: null, ...nothing, servedBeforeMs: servedMs, servedMs };
}

function continued({ cycle, last }: Begun, { at, servedMs }: LedgerEntry): PowerCycle {
  const spentMs = at - last.at;
  const cost = costIn(last, spentMs);
  if (last.state === 'suspended') {
    return { ...cycle, servedMs, parkedMs: cycle.parkedMs + spentMs, parkedCost: cycle.parkedCost + cost };
  }
  return { ...cycle, servedMs, onMs: cycle.onMs + spentMs, onCost: cycle.onCost + cost };
}
