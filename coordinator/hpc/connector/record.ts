import { createHash } from 'node:crypto';
import { mkdirSync, readFileSync } from 'node:fs';
import { open, rename } from 'node:fs/promises';
import { join } from 'node:path';
import { AppError } from '../../../shared/errors.js';
import type { Mirror } from '../mirror.js';

/** What the connector knows of one job, kept over its own death. */
export interface ConnectorRecord {
  /** SHA-256 of the batch script: a name belongs to one job. */
  readonly script: string;
  readonly mirror: Mirror;
  /** How much of each output file was printed. */
  readonly printed: Readonly<Record<string, number>>;
  /** Outputs have been fetched, and the rest of the output printed. */
  readonly isFetched: boolean;
}

export function scriptDigest(script: string): string {
  return createHash('sha256').update(script).digest('hex');
}

/** One file a job; without a folder all is in memory, and a restart finds the job by its tag alone. */
export class RecordFile {
  readonly #path: string | undefined;

  constructor(folder: string | undefined, name: string) {
    this.#path = folder === undefined ? undefined : join(folder, `${name}.json`);
    if (folder !== undefined) mkdirSync(folder, { recursive: true, mode: 0o700 });
  }

  /** Throws `conflict` when the name belongs to another job. */
  load(script: string): ConnectorRecord | undefined {
    if (this.#path === undefined) return undefined;
    let record: ConnectorRecord;
    try {
      record = JSON.parse(readFileSync(this.#path, 'utf8')) as ConnectorRecord;
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
      throw new AppError('invalid-request', `cannot read ${this.#path}: ${(error as Error).message}`, { cause: error });
    }
    if (record.script === script) return record;
    throw new AppError('conflict', `${this.#path} belongs to another job; choose another --name`);
  }

  /** Whole on disk when it resolves. */
  async save(record: ConnectorRecord): Promise<void> {
    if (this.#path === undefined) return;
    const file = await open(`${this.#path}.new`, 'w', 0o600);
    try {
      await file.writeFile(JSON.stringify(record));
      await file.sync();
    } finally {
      await file.close();
    }
    await rename(`${this.#path}.new`, this.#path);
  }
}
