import type { Clock } from '../../shared/clock.js';
import { WIRE_LIMITS } from '../../shared/wire/limits.js';
import type { LogAck, LogChunk } from '../../shared/wire/messages.js';
import type { TaskLogs } from './task-logs.js';

/** Bytes of one connection on their way to the disk; what comes beyond is dropped, and asked for again. */
const MAX_WAITING_BYTES = 4 * WIRE_LIMITS.logWindowBytes;
/** What a chunk costs beside its bytes. */
const CHUNK_COST_BYTES = 256;
/** For this long the same answer is not given again: many chunks behind a gap ask for one step back, not for many. */
const SAME_ANSWER_MS = 1_000;

/** Writes one connection's output, and decides which answers the agent gets. */
export class LogAnswers {
  readonly #logs: Pick<TaskLogs, 'write'>;
  readonly #clock: Clock;
  readonly #given = new Map<string, { readonly offset: number; readonly at: number }>();
  #waitingBytes = 0;

  constructor(logs: Pick<TaskLogs, 'write'>, clock: Clock) {
    this.#logs = logs;
    this.#clock = clock;
  }

  /** The answer to a chunk, once it is written; undefined when there is none to give. */
  async take(chunk: LogChunk, limitMiB?: number): Promise<LogAck | undefined> {
    const cost = chunk.bytes.length + CHUNK_COST_BYTES;
    if (this.#waitingBytes + cost > MAX_WAITING_BYTES) return undefined;
    this.#waitingBytes += cost;
    try {
      const ack = await this.#logs.write(chunk, limitMiB);
      return this.#isNews(ack) ? ack : undefined;
    } finally {
      this.#waitingBytes -= cost;
    }
  }

  #isNews({ allocationId, stream, offset, complete }: LogAck): boolean {
    const key = `${allocationId} ${stream}`;
    const given = this.#given.get(key);
    const at = this.#clock.monotonic();
    if (complete) this.#given.delete(key);
    else if (given?.offset === offset && at - given.at < SAME_ANSWER_MS) return false;
    else this.#given.set(key, { offset, at });
    return true;
  }
}
