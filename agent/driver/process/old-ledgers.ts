import type { LedgerFile } from './ledger-file.js';

/** Ledgers of workers that an earlier process started, or that are gone: kept while an attempt in them is of interest. */
export class OldLedgers {
  readonly #ledgers: Set<LedgerFile>;

  constructor(ledgers: readonly LedgerFile[]) {
    this.#ledgers = new Set(ledgers);
  }

  add(ledger: LedgerFile): void {
    this.#ledgers.add(ledger);
  }

  named(names: ReadonlySet<string>): LedgerFile[] {
    return [...this.#ledgers].filter(({ name }) => names.has(name));
  }

  inUse(): LedgerFile[] {
    return [...this.#ledgers].filter(({ attempts }) => attempts.size > 0);
  }

  /** A cell in which anything is left keeps its ledger until the next time. */
  deleteUnused(): void {
    for (const ledger of this.#ledgers) {
      if (ledger.attempts.size > 0 || ledger.cell?.remove() === false) continue;
      this.#ledgers.delete(ledger);
      ledger.delete();
    }
  }

  close(): void {
    for (const ledger of this.#ledgers) ledger.close();
  }
}
