import { appendFile, readFile } from 'node:fs/promises';
import type { Cancel, Clock, EpochMs } from '../../shared/clock.js';
import { isDeepEqual } from '../../shared/equal.js';
import type { AllocationId, InstanceId } from '../../shared/ids.js';
import type { Log } from '../../shared/log.js';
import type { PoolPrices } from '../../shared/pool.js';
import { ifPresent, PRIVATE_FILE, replaceFile } from '../gateway/disk.js';
import type { BerthEvent, LoggedEvent } from '../model/events.js';
import type { Instance } from '../model/instance.js';
import { type LedgerEntry, ledgerState } from '../model/ledger.js';
import { isFree } from '../model/machine-times.js';
import { servedBy } from '../model/node-share.js';
import type { ClusterView } from '../model/state.js';

export interface MachineLedgerOptions {
  readonly path: string;
  /** The engine's; as it is when a listener is called, it is on disk. */
  readonly view: ClusterView;
  readonly clock: Clock;
  readonly log: Log;
}

export const LEDGER_LIMITS = {
  /** In memory and in the file; then the older half goes. */
  entries: 200_000,
  /** A node that turns busy or idle more often is written down so often. */
  edgeMs: 60_000,
} as const;

interface Known {
  /** As it was written down last. */
  readonly written: LedgerEntry;
  /** As it was seen last; written down later when it changes too often. */
  readonly seen: LedgerEntry;
}

/**
 * Writes down what machines do: a line of JSON for each change, in a file that survives the events.
 *
 * What a crash keeps from it is made up at the next start from the machines as they are; only times in between are lost.
 */
export class MachineLedger {
  readonly #options: MachineLedgerOptions;
  #entries: LedgerEntry[];
  readonly #known = new Map<InstanceId, Known>();
  #unwritten: string[] = [];
  #mustRewrite = false;
  #writing: Promise<void> | undefined;
  #cancel: Cancel = () => {};

  private constructor(options: MachineLedgerOptions, entries: LedgerEntry[]) {
    this.#options = options;
    this.#entries = entries;
  }

  /** Reads the file back and takes up the machines as they are. A damaged line is left out. */
  static async open(options: MachineLedgerOptions): Promise<MachineLedger> {
    const text = (await ifPresent(() => readFile(options.path, 'utf8'))) ?? '';
    const ledger = new MachineLedger(options, readEntries(text, options.log));
    ledger.#takeUp(options.clock.now());
    ledger.#lookLater();
    return ledger;
  }

  /** In the order of their times, each machine's. */
  entries(): readonly LedgerEntry[] {
    const newest = [...this.#known.values()].filter(({ written, seen }) => isOnAndJoined(seen) && seen.at > written.at);
    return [...this.#entries, ...newest.map(({ seen }) => seen)];
  }

  note(events: readonly LoggedEvent[]): void {
    const { view } = this.#options;
    if (view.instances.size === 0 && this.#known.size === 0) return;
    for (const { event, at } of events) if (event.type === 'allocation.ended') this.#served(event.allocationId, at);
    for (const { event, at } of events) {
      for (const id of machinesOf(event, view)) this.#look(id, at, isFailure(event));
    }
  }

  /** What a machine served that is gone by now, nobody else tells any more. */
  #served(allocationId: AllocationId, at: EpochMs): void {
    const { view } = this.#options;
    const attempt = view.allocations.get(allocationId);
    if (!attempt?.nodeShare || view.index.instanceByNode.has(attempt.nodeId)) return;
    for (const [id, { written, seen }] of this.#known) {
      if (seen.node !== attempt.nodeId) continue;
      this.#known.set(id, { written, seen: { ...seen, servedMs: seen.servedMs + servedBy(attempt, at) } });
    }
  }

  async close(): Promise<void> {
    this.#cancel();
    this.#write();
    await this.#writing;
  }

  #takeUp(now: EpochMs): void {
    for (const entry of this.#entries) {
      if (entry.state === 'gone') this.#known.delete(entry.machine);
      else this.#known.set(entry.machine, { written: entry, seen: entry });
    }
    for (const id of new Set([...this.#known.keys(), ...this.#options.view.instances.keys()])) this.#look(id, now);
  }

  /** Writes down what has been held back because it changed too often. */
  #lookLater(): void {
    this.#cancel = this.#options.clock.after(LEDGER_LIMITS.edgeMs, () => {
      const now = this.#options.clock.now();
      for (const id of [...this.#known.keys()]) this.#look(id, now);
      this.#lookLater();
    });
  }

  #look(id: InstanceId, at: EpochMs, failed = false): void {
    const { view } = this.#options;
    const instance = view.instances.get(id);
    const known = this.#known.get(id);
    if (!instance) {
      if (known) this.#gone(known, at, failed);
      return;
    }
    const isBusy = view.index.usage(instance.nodeId).live.size > 0;
    const busyMs = known ? busyUntil(known.seen, at) : 0;
    const prices = view.pools.get(instance.pool)?.spec.prices;
    const seen = entryOf(instance, { at, state: ledgerState(instance, isBusy), busyMs, prices, failed });
    const isHeldBack = known && isDetail(known.written, seen);
    this.#known.set(id, { written: isHeldBack ? known.written : seen, seen });
    if (!isHeldBack) this.#add(seen);
  }

  #gone({ seen }: Known, at: EpochMs, failed: boolean): void {
    const { machine, node, pool, servedMs } = seen;
    this.#known.delete(machine);
    const sums = { busyMs: busyUntil(seen, at), servedMs };
    this.#add({ machine, node, pool, at, state: 'gone', ...sums, ...(failed ? { failed } : {}) });
  }

  #add(entry: LedgerEntry): void {
    this.#entries.push(entry);
    this.#unwritten.push(JSON.stringify(entry));
    if (this.#entries.length > LEDGER_LIMITS.entries) {
      this.#entries = this.#entries.slice(-LEDGER_LIMITS.entries / 2);
      this.#mustRewrite = true;
    }
    this.#write();
  }

  #write(): void {
    if (this.#writing || this.#unwritten.length === 0) return;
    this.#writing = this.#writeOnce()
      .catch((error: unknown) => this.#options.log.warn('machine ledger could not be written', { error }))
      .finally(() => {
        this.#writing = undefined;
        this.#write();
      });
  }

  async #writeOnce(): Promise<void> {
    const { path } = this.#options;
    const lines = this.#unwritten;
    this.#unwritten = [];
    if (this.#mustRewrite) {
      this.#mustRewrite = false;
      await replaceFile(path, this.#entries.map((entry) => `${JSON.stringify(entry)}\n`).join(''));
    } else {
      await appendFile(path, lines.map((line) => `${line}\n`).join(''), { mode: PRIVATE_FILE });
    }
  }
}

function readEntries(text: string, log: Log): LedgerEntry[] {
  let damagedCount = 0;
  const entries = text.split('\n').flatMap((line): LedgerEntry[] => {
    if (line === '') return [];
    try {
      return [JSON.parse(line) as LedgerEntry];
    } catch {
      damagedCount += 1;
      return [];
    }
  });
  if (damagedCount > 0) log.warn('lines of the machine ledger are damaged and left out', { damagedCount });
  return entries;
}

function busyUntil({ state, at, busyMs }: LedgerEntry, until: EpochMs): number {
  return busyMs + (state === 'busy' ? until - at : 0);
}

function machinesOf(event: BerthEvent, { allocations, index, instances }: ClusterView): readonly InstanceId[] {
  if ('instanceId' in event) return [event.instanceId];
  if (event.type === 'pool.defined') {
    return [...instances.values()].flatMap(({ id, pool }) => (pool === event.spec.name ? [id] : []));
  }
  if (event.type === 'allocation.committed') return only(index.instanceByNode.get(event.nodeId));
  if (event.type !== 'allocation.ended') return [];
  const nodeId = allocations.get(event.allocationId)?.nodeId;
  return only(nodeId && index.instanceByNode.get(nodeId));
}

function only(id: InstanceId | undefined): readonly InstanceId[] {
  return id === undefined ? [] : [id];
}

function isFailure(event: BerthEvent): boolean {
  return event.type === 'instance.orderFailed' && event.order !== 'suspend';
}

/** Need the next entry not be written down now? */
function isDetail(before: LedgerEntry, next: LedgerEntry): boolean {
  if (!isDeepEqual(before.prices, next.prices)) return false;
  return before.state === next.state || isEdgeTooSoon(before, next);
}

function isEdgeTooSoon(before: LedgerEntry, next: LedgerEntry): boolean {
  const isEdge = isOnAndJoined(before) && isOnAndJoined(next);
  return isEdge && next.at - before.at < LEDGER_LIMITS.edgeMs;
}

function isOnAndJoined({ state }: LedgerEntry): boolean {
  return state === 'busy' || state === 'idle';
}

function entryOf(
  { id, nodeId, pool, servedMs = 0 }: Instance,
  {
    prices,
    failed,
    ...now
  }: Pick<LedgerEntry, 'at' | 'state' | 'busyMs'> & {
    readonly prices: PoolPrices | undefined;
    readonly failed: boolean;
  },
): LedgerEntry {
  const paid = prices === undefined || isFree(prices) ? {} : { prices };
  return { ...now, machine: id, node: nodeId, pool, servedMs, ...paid, ...(failed ? { failed } : {}) };
}
