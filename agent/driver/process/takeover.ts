import { readdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import type { Clock } from '../../../shared/clock.js';
import type { AllocationId } from '../../../shared/ids.js';
import { noteBoot, REBOOTED } from '../boot.js';
import type { DriverEnd } from '../driver.js';
import { type AttemptRecord, newRecord } from './attempt-record.js';
import { Cell } from './cell.js';
import type { LedgerEntry } from './ledger.js';
import { LedgerFile } from './ledger-file.js';
import type { Places } from './places.js';
import { UptimeClock } from './process-table.js';

/** What an earlier agent process left. */
export interface Takeover {
  readonly records: Map<AllocationId, AttemptRecord>;
  readonly ledgers: LedgerFile[];
  /** The machine was restarted since: what no ledger tells may have been lost with the disk's cache. */
  readonly wasRebooted: boolean;
}

/**
 * Revokes what was ordered and not begun, then reads what was begun. See worker.sh for why in this order. What is known
 * to have begun keeps its order: its worker may be just about to read it.
 */
export function takeOver(places: Places, bootId: string, clock: Clock): Takeover {
  const wasRebooted = noteBoot(join(places.root, 'boot-id'), bootId);
  const records = new Map<AllocationId, AttemptRecord>();
  const names = readdirSync(places.folder('ledger'));
  const ledgers = names.map((name) => new LedgerFile(places, name, Cell.adopt(places.folder('cells'), name, clock)));
  const uptime = new UptimeClock(clock);
  const read = (): void => {
    for (const ledger of ledgers) for (const entry of ledger.read(uptime)) keep(records, ledger, entry);
  };
  read();
  const running = [...records.values()].filter((record) => record.end === null).map(({ ledger }) => ledger.name);
  const begun = new Set(wasRebooted ? [] : running);
  for (const name of readdirSync(places.folder('orders'))) {
    if (!begun.has(name)) rmSync(places.order(name), { force: true });
  }
  read();
  for (const record of records.values()) record.end ??= endOfDead(record, wasRebooted);
  return { records, ledgers, wasRebooted };
}

/** The end of an attempt whose worker is gone without a word; null while the worker lives. */
export function endOfDead(record: AttemptRecord, wasRebooted: boolean): DriverEnd | null {
  if (wasRebooted) return REBOOTED;
  if (record.run && record.ledger.isWrittenBy(record.run.pid)) return null;
  return { kind: 'lost', message: 'the process that watched the task was killed' };
}

function keep(records: Map<AllocationId, AttemptRecord>, ledger: LedgerFile, entry: LedgerEntry): void {
  const id = entry.allocationId;
  if (entry.kind === 'run') {
    const record = newRecord(id, ledger);
    record.run = entry.run;
    records.set(id, record);
    return;
  }
  const record = records.get(id);
  if (!record || record.ledger !== ledger) return;
  if (entry.end === 'revoked') {
    records.delete(id);
    ledger.attempts.delete(id);
    return;
  }
  record.end = entry.end;
  record.cpuMs = entry.cpuMs;
}
