import type { Cancel, Clock } from '../../shared/clock.js';
import type { AllocationId } from '../../shared/ids.js';
import type { Log } from '../../shared/log.js';
import type { LogStream } from '../../shared/wire/messages.js';
import type { GoneOutput, GoneRange, SpoolDisk } from './spool-disk.js';

export interface OutputSpoolOptions {
  readonly disk: SpoolDisk;
  /** Bytes that the output of all attempts may take together. */
  readonly limitBytes: number;
  readonly clock: Clock;
  readonly log: Log;
}

/** A stream whose output is on this node, with the bytes that the coordinator has of it. */
export interface SpooledStream {
  readonly id: AllocationId;
  readonly stream: LogStream;
  readonly path: string;
  readonly ackedBytes: number;
}

const CHECK_MS = 5_000;
/** The space of a file is given back in blocks. */
const BLOCK_BYTES = 4_096;
/** Kept of what the coordinator has not: the cause is told at the beginning mostly, and else at the end. */
const KEPT_BYTES = 1024 ** 2;
/** Even on a full disk the spool may have this much. */
const LEAST_BYTES = 64 * 1024 ** 2;
/** So much more than needed is given back, so that it does not begin anew at once. */
const SLACK = 0.1;
const NOTHING_GONE: GoneOutput = { stdout: [], stderr: [] };

/**
 * Keeps the output that attempts have on this node below a limit, while the coordinator is away or slow.
 *
 * What the coordinator has goes first, the oldest attempts' before others'. Then the middle of what it has not: never the
 * task itself, which writes its files on. What is gone is on file before its space is given back, so that it is told to
 * the coordinator as missing, by its size (P9).
 */
export class OutputSpool {
  readonly #options: OutputSpoolOptions;
  readonly #streams: () => Iterable<SpooledStream>;
  readonly #gone: Map<AllocationId, GoneOutput>;
  #cancelCheck: Cancel = () => {};
  #hasComplained = false;
  #isStopped = false;

  /** @param streams  in the order in which their attempts began */
  constructor(options: OutputSpoolOptions, streams: () => Iterable<SpooledStream>) {
    this.#options = options;
    this.#streams = streams;
    this.#gone = new Map(options.disk.load());
    this.#checkLater();
  }

  /** What of a stream is to be read at `offset`: from where on it is there, and up to where. */
  extent(id: AllocationId, stream: LogStream, offset: number): { readonly from: number; readonly to: number } {
    const ranges = this.#gone.get(id)?.[stream] ?? [];
    const from = ranges.find((range) => range[0] <= offset && offset < range[1])?.[1] ?? offset;
    return { from, to: ranges.find((range) => range[0] > from)?.[0] ?? Number.POSITIVE_INFINITY };
  }

  forget(id: AllocationId): void {
    if (this.#gone.delete(id)) this.#options.disk.save(id, null);
  }

  stop(): void {
    this.#isStopped = true;
    this.#cancelCheck();
  }

  /** Gives space back when there is too little. Never rejects. */
  async check(): Promise<void> {
    const { disk, limitBytes } = this.#options;
    const spooled = [...this.#streams()].map((each) => ({ ...each, ...disk.measure(each.path) }));
    const totalBytes = spooled.reduce((sum, { allocatedBytes }) => sum + allocatedBytes, 0);
    const allowedBytes = Math.min(limitBytes, Math.max(LEAST_BYTES, totalBytes - disk.excessBytes()));
    if (totalBytes <= allowedBytes) return;
    let neededBytes = totalBytes - allowedBytes * (1 - SLACK);
    for (const each of spooled) {
      if (neededBytes > 0) neededBytes -= await this.#release(each, [0, each.ackedBytes], neededBytes);
    }
    for (const each of spooled) {
      const unsent: GoneRange = [each.ackedBytes + KEPT_BYTES, each.sizeBytes - KEPT_BYTES];
      if (neededBytes > 0) neededBytes -= await this.#release(each, unsent, neededBytes);
    }
  }

  #checkLater(): void {
    if (this.#isStopped) return;
    this.#cancelCheck = this.#options.clock.after(CHECK_MS, () => void this.check().then(() => this.#checkLater()));
  }

  /** The space that it gave back, or would have if it was already. */
  async #release(each: SpooledStream, range: GoneRange, neededBytes: number): Promise<number> {
    const { id, stream, path, ackedBytes } = each;
    const before = this.#gone.get(id) ?? NOTHING_GONE;
    const released = firstBytesOf(range, before[stream], neededBytes);
    if (released === undefined) return 0;
    this.#note(id, { ...before, [stream]: joined([...before[stream], released]) });
    const complaint = await this.#options.disk.release(path, released);
    const bytes = released[1] - released[0];
    if (complaint !== undefined) {
      this.#note(id, before);
      this.#complain(complaint);
      return 0;
    }
    if (released[1] > ackedBytes) {
      this.#options.log.warn('output is dropped, the node has no room for it', { allocationId: id, stream, bytes });
    }
    return bytes;
  }

  #note(id: AllocationId, gone: GoneOutput): void {
    this.#gone.set(id, gone);
    this.#options.disk.save(id, gone);
  }

  #complain(reason: string): void {
    if (!this.#hasComplained) this.#options.log.error('the space of output cannot be given back', { reason });
    this.#hasComplained = true;
  }
}

/** The first so many whole blocks of a range that are still there; undefined when there is not one. */
function firstBytesOf(range: GoneRange, gone: readonly GoneRange[], neededBytes: number): GoneRange | undefined {
  let from = Math.ceil(range[0] / BLOCK_BYTES) * BLOCK_BYTES;
  for (const [start, end] of gone) if (start <= from && from < end) from = end;
  const next = gone.find(([start]) => start > from)?.[0] ?? Number.POSITIVE_INFINITY;
  const wanted = Math.ceil(neededBytes / BLOCK_BYTES) * BLOCK_BYTES;
  const to = Math.min(Math.floor(Math.min(range[1], next) / BLOCK_BYTES) * BLOCK_BYTES, from + wanted);
  return to > from ? [from, to] : undefined;
}

function joined(ranges: readonly GoneRange[]): GoneRange[] {
  const result: GoneRange[] = [];
  for (const [from, to] of [...ranges].sort((left, right) => left[0] - right[0])) {
    const last = result.at(-1);
    if (last !== undefined && from <= last[1]) result.splice(-1, 1, [last[0], Math.max(last[1], to)]);
    else result.push([from, to]);
  }
  return result;
}
