import type { EpochMs } from '../../shared/clock.js';
import type { InstanceId, NodeId } from '../../shared/ids.js';
import type { PoolPrices } from '../../shared/pool.js';
import type { Instance } from './instance.js';
import { costOf } from './machine-times.js';

/**
 * What machines did, kept longer than the events that tell it: from it come the report and the jobs' receipts.
 *
 * An entry is the whole truth of one machine from its time on, so that any may be missing before it.
 */
export interface LedgerEntry {
  readonly at: EpochMs;
  readonly machine: InstanceId;
  readonly node: NodeId;
  readonly pool: string;
  /** From this time on. */
  readonly state: LedgerState;
  /** How long its node has held something, in all its life up to now. */
  readonly busyMs: number;
  /** The same of its attempts, each by its share of the node. */
  readonly servedMs: number;
  /** From this time on; absent when it costs nothing. */
  readonly prices?: PoolPrices;
  /** It was to be switched on, and was not. */
  readonly failed?: true;
}

export type LedgerState = 'booting' | 'resuming' | 'busy' | 'idle' | 'switching off' | 'suspended' | 'gone';

export function ledgerState({ phase }: Instance, isBusy: boolean): LedgerState {
  switch (phase.kind) {
    case 'requested':
    case 'booting':
      return 'booting';
    case 'resuming':
      return 'resuming';
    case 'stopping':
      return 'switching off';
    case 'suspended':
      return 'suspended';
    case 'joined':
    case 'closing':
      return isBusy ? 'busy' : 'idle';
  }
}

/** A machine in one state for a while. */
export interface MachineSpan {
  readonly machine: InstanceId;
  readonly node: NodeId;
  readonly pool: string;
  readonly state: Exclude<LedgerState, 'gone'>;
  readonly from: EpochMs;
  readonly until: EpochMs;
  /** Of it, how long its node held something: short pauses and short tasks make no spans of their own. */
  readonly busyMs: number;
  readonly cost: number;
}

/** The spans that lie in the window, each machine's in order; what lasts still ends with it. Cost: O(entries). */
export function machineSpans(entries: readonly LedgerEntry[], window: Window): MachineSpan[] {
  const open = new Map<InstanceId, LedgerEntry>();
  const spans: MachineSpan[] = [];
  const close = (entry: LedgerEntry, end: SpanEnd): void => {
    const span = spanOf(entry, end, window);
    if (span) spans.push(span);
  };
  for (const entry of entries) {
    const before = open.get(entry.machine);
    if (before) close(before, entry);
    if (entry.state === 'gone') open.delete(entry.machine);
    else open.set(entry.machine, entry);
  }
  for (const entry of open.values()) {
    const at = Math.max(entry.at, window.until);
    close(entry, { at, busyMs: entry.busyMs + (entry.state === 'busy' ? at - entry.at : 0) });
  }
  return spans;
}

export interface Window {
  readonly from: EpochMs;
  readonly until: EpochMs;
}

type SpanEnd = Pick<LedgerEntry, 'at' | 'busyMs'>;

function spanOf(entry: LedgerEntry, end: SpanEnd, window: Window): MachineSpan | undefined {
  const { at, machine, node, pool, state, busyMs } = entry;
  const from = Math.max(at, window.from);
  const until = Math.min(end.at, window.until);
  if (state === 'gone' || until <= from) return undefined;
  // Of a span that the window cuts, as much of the work.
  const part = (until - from) / (end.at - at);
  const worked = Math.min(until - from, (end.busyMs - busyMs) * part);
  return { machine, node, pool, state, from, until, busyMs: worked, cost: costIn(entry, until - from) };
}

/** What so much time costs that a machine spends as the entry says. */
export function costIn({ state, prices }: LedgerEntry, spentMs: number): number {
  if (!prices) return 0;
  const times = state === 'suspended' ? { onMs: 0, suspendedMs: spentMs } : { onMs: spentMs, suspendedMs: 0 };
  return costOf(prices, times);
}
