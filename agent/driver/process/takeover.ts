import { readdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import type { AllocationId } from '../../../shared/ids.js';
import { noteBoot, REBOOTED } from '../boot.js';
import type { DriverEnd } from '../driver.js';
import { type AttemptRecord, newRecord } from './attempt-record.js';
import type { LedgerEntry } from './ledger.js';
import { LedgerFile } from './ledger-file.js';
import type { Places } from './places.js';

/** What an earlier agent process left. */
export interface Takeover {
  readonly records: Map<AllocationId, AttemptRecord>;
  readonly ledgers: LedgerFile[];
  /** The machine was restarted since: what no ledger tells may have been lost with the disk's cache. */
  readonly wasRebooted: boolean;
}

/** Revokes what was ordered and not begun, then reads what was begun. See worker.sh for why in this order. */
export function takeOver(places: Places, bootId: string): Takeover {
  const wasRebooted = noteBoot(join(places.root, 'boot-id'), bootId);
  for (const name of readdirSync(places.folder('orders'))) rmSync(places.order(name), { force: true });
  const records = new Map<AllocationId, AttemptRecord>();
  const ledgers: LedgerFile[] = [];
  for (const name of readdirSync(places.folder('ledger'))) {
    const ledger = new LedgerFile(places.ledger(name), places.lastWords);
    ledgers.push(ledger);
    for (const entry of ledger.read()) keep(records, ledger, entry);
  }
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
  } else record.end = entry.end;
}
