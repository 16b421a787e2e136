import { existsSync } from 'node:fs';
import type { AllocationId } from '../../../shared/ids.js';
import type { Log } from '../../../shared/log.js';
import type { LogStream } from '../../../shared/wire/messages.js';
import { bytesFrom } from '../output-file.js';
import type { AttemptRecord } from './attempt-record.js';
import type { Leavings } from './current-files.js';
import { diskUse } from './disk-use.js';
import type { Places } from './places.js';

const NO_LEAVINGS: Leavings = { output: { stdoutBytes: 0, stderrBytes: 0 }, isNothing: true };

/** Finds what attempts wrote: under their own names, or those of the workers that still run them. */
export class AttemptFiles {
  readonly #places: Places;
  readonly #records: ReadonlyMap<AllocationId, AttemptRecord>;
  readonly #log: Log;

  constructor(places: Places, records: ReadonlyMap<AllocationId, AttemptRecord>, log: Log) {
    this.#places = places;
    this.#records = records;
    this.#log = log;
  }

  diskUse(id: AllocationId, folders: readonly string[]): Promise<number> {
    const record = this.#records.get(id);
    const cell = record?.ledger.cell;
    const own = record && !record.leavings ? record.ledger.current.folder : this.#places.work(id);
    return diskUse([cell?.hasFiles ? cell.tmp : own, ...folders]);
  }

  /** Where output is that keeps this path, also when the attempt ends meanwhile. */
  outputFile(id: AllocationId, stream: LogStream): string {
    const record = this.#records.get(id);
    const isCurrent = record !== undefined && !record.leavings && record.ledger.newest === id;
    if (isCurrent) record.ledger.current.nameOutput(id, stream);
    return this.#places.output(id, stream);
  }

  read(id: AllocationId, stream: LogStream, offset: number, maxBytes: number): Uint8Array {
    const own = this.#places.output(id, stream);
    const record = this.#records.get(id);
    const isCurrent = record !== undefined && !record.leavings && !existsSync(own);
    return bytesFrom(isCurrent ? record.ledger.current.output(stream) : own, offset, maxBytes);
  }

  /** Gives what is left of an attempt its name. Never throws: an end must be told whatever became of the files. */
  putBy({ id, ledger, run }: AttemptRecord, isTraceless: boolean): Leavings {
    // One that never ran used nothing of its worker's, which may run another by now.
    if (run === null) return NO_LEAVINGS;
    // One that another followed has been put by, before an earlier agent was gone.
    if (ledger.newest !== id) return { output: this.#places.outputBytes(id), isNothing: false };
    try {
      return ledger.current.putBy(id, isTraceless);
    } catch (error) {
      this.#log.error('what a task left cannot be kept', { allocationId: id, error: (error as Error).message });
      return { ...NO_LEAVINGS, isNothing: false };
    }
  }
}
