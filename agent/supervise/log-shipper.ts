import type { Cancel, Clock } from '../../shared/clock.js';
import type { AllocationId } from '../../shared/ids.js';
import type { Log } from '../../shared/log.js';
import { WIRE_LIMITS } from '../../shared/wire/limits.js';
import type { LogAck, LogChunk, LogStream } from '../../shared/wire/messages.js';
import type { OutputBytes } from '../driver/driver.js';
import { OutputStream } from './output-stream.js';

export interface LogShipperOptions {
  /** Bytes of an attempt's output from `offset`; empty when there are none yet. */
  readonly read: (id: AllocationId, stream: LogStream, offset: number, maxBytes: number) => Promise<Uint8Array>;
  /** Of a stream at `offset`: from where on it is on this node, and up to where. */
  readonly extent: (
    id: AllocationId,
    stream: LogStream,
    offset: number,
  ) => { readonly from: number; readonly to: number };
  /** The coordinator has all the output of this ended attempt. */
  readonly complete: (id: AllocationId) => void;
  readonly clock: Clock;
  readonly log: Log;
}

/** False when there is no room now; `offer` is to be called when there is. */
export type SendLog = (chunk: LogChunk) => boolean;

/** How often the output of live attempts is looked at. */
const POLL_MS = 200;
/** An answer that has not come for this long will not come: the chunk, or the answer, was lost. */
const STALLED_MS = 15_000;

interface Shipment {
  readonly id: AllocationId;
  readonly streams: Readonly<Record<LogStream, OutputStream>>;
  hasEnded: boolean;
}

interface Due {
  readonly shipment: Shipment;
  readonly stream: LogStream;
}

/**
 * Brings the output of attempts to the coordinator, byte for byte by offset, as far as the session has room.
 *
 * Streams take turns chunk by chunk, so that a noisy one delays none. Nothing of this is on disk: after a restart the
 * coordinator's first answer says how far it has each stream.
 */
export class LogShipper {
  readonly #options: LogShipperOptions;
  readonly #shipments = new Map<AllocationId, Shipment>();
  /** Streams that may have something to send, in turn. */
  readonly #due = new Map<string, Due>();
  /** Read, but there was no room for it. */
  #unsent: { readonly due: Due; readonly chunk: LogChunk } | undefined;
  #send: SendLog | undefined;
  #isPumping = false;
  #cancelPoll: Cancel | undefined;
  #lastAnswerAt = 0;

  constructor(options: LogShipperOptions) {
    this.#options = options;
  }

  /** The attempt may write from now on. */
  follow(id: AllocationId): void {
    if (this.#shipments.has(id)) return;
    const streams = { stdout: new OutputStream(), stderr: new OutputStream() };
    this.#shipments.set(id, { id, streams, hasEnded: false });
    this.#pollLater();
  }

  ended(id: AllocationId, output: OutputBytes): void {
    this.follow(id);
    const shipment = this.#shipments.get(id);
    if (!shipment) return;
    shipment.hasEnded = true;
    shipment.streams.stdout.end(output.stdoutBytes);
    shipment.streams.stderr.end(output.stderrBytes);
    if (!this.#completeIfDone(shipment)) this.#offerAll(shipment);
  }

  /** All that is followed, in the order in which that began, with what the coordinator has of each. */
  *streams(): Generator<{ readonly id: AllocationId; readonly stream: LogStream; readonly ackedBytes: number }> {
    for (const { id, streams } of this.#shipments.values()) {
      yield { id, stream: 'stdout', ackedBytes: streams.stdout.ackedBytes };
      yield { id, stream: 'stderr', ackedBytes: streams.stderr.ackedBytes };
    }
  }

  forget(id: AllocationId): void {
    this.#shipments.delete(id);
  }

  /** A connection is ready. */
  connect(send: SendLog): void {
    this.#send = send;
    this.#lastAnswerAt = this.#options.clock.monotonic();
    this.#rewindAll();
    this.#pollLater();
  }

  disconnect(): void {
    this.#send = undefined;
    this.#unsent = undefined;
    this.#due.clear();
    this.#cancelPoll?.();
    this.#cancelPoll = undefined;
  }

  /** There is room again. */
  offer(): void {
    void this.#pump();
  }

  acknowledge(ack: LogAck): void {
    const shipment = this.#shipments.get(ack.allocationId);
    if (!shipment) return;
    this.#lastAnswerAt = this.#options.clock.monotonic();
    const stream = shipment.streams[ack.stream];
    stream.acknowledge(ack);
    if (this.#completeIfDone(shipment)) return;
    if (!stream.isComplete) this.#offerStream(shipment, ack.stream);
  }

  #completeIfDone(shipment: Shipment): boolean {
    const { id, streams, hasEnded } = shipment;
    if (!hasEnded || !streams.stdout.isComplete || !streams.stderr.isComplete) return false;
    this.#shipments.delete(id);
    this.#options.complete(id);
    return true;
  }

  #rewindAll(): void {
    this.#unsent = undefined;
    for (const shipment of this.#shipments.values()) {
      shipment.streams.stdout.rewind();
      shipment.streams.stderr.rewind();
      this.#offerAll(shipment);
    }
  }

  #offerAll(shipment: Shipment): void {
    this.#offerStream(shipment, 'stdout');
    this.#offerStream(shipment, 'stderr');
  }

  #offerStream(shipment: Shipment, stream: LogStream): void {
    if (!this.#send || shipment.streams[stream].isComplete) return;
    const key = `${shipment.id} ${stream}`;
    if (!this.#due.has(key)) this.#due.set(key, { shipment, stream });
    void this.#pump();
  }

  async #pump(): Promise<void> {
    if (this.#isPumping) return;
    this.#isPumping = true;
    try {
      while (this.#send && (await this.#step(this.#send))) {
        // Each step sends one chunk, or finds that a stream has none.
      }
    } catch (error) {
      // The next poll tries again.
      this.#options.log.warn('output could not be read', { error: String(error) });
    } finally {
      this.#isPumping = false;
    }
  }

  /** False when there is nothing to send, or no room for it. */
  async #step(send: SendLog): Promise<boolean> {
    const next = this.#unsent ?? (await this.#readNext());
    if (next === 'none-due') return false;
    // Everything may have changed while it was read.
    if (next === 'nothing-new' || send !== this.#send) return this.#send !== undefined;
    this.#unsent = undefined;
    const { due, chunk } = next;
    const stream = due.shipment.streams[due.stream];
    const missing = chunk.missingBytes ?? 0;
    if (stream.offset !== chunk.offset - missing || !this.#shipments.has(due.shipment.id)) return true;
    if (!send(chunk)) {
      this.#unsent = next;
      return false;
    }
    stream.sent(missing + chunk.bytes.length, chunk.last);
    if (!chunk.last) this.#due.set(`${due.shipment.id} ${due.stream}`, due);
    return true;
  }

  async #readNext(): Promise<{ due: Due; chunk: LogChunk } | 'nothing-new' | 'none-due'> {
    const [first] = this.#due;
    if (!first) return 'none-due';
    const [key, due] = first;
    // It goes to the end of the queue if it turns out to have something.
    this.#due.delete(key);
    const { id, streams } = due.shipment;
    const stream = streams[due.stream];
    const { from, to } = this.#options.extent(id, due.stream, stream.offset);
    const missing = from - stream.offset;
    const bytes = await this.#options.read(id, due.stream, from, Math.min(WIRE_LIMITS.logChunkBytes, to - from));
    const byteCount = missing + bytes.length;
    if (byteCount === 0 && !stream.isUnfinished) return 'nothing-new';
    const ageMs = Math.round(stream.ageOf(from + bytes.length, this.#options.clock.monotonic()));
    const last = stream.isLast(byteCount);
    const chunk = { allocationId: id, stream: due.stream, offset: from, bytes, last, ageMs };
    return { due, chunk: missing === 0 ? chunk : { ...chunk, missingBytes: missing } };
  }

  #pollLater(): void {
    if (this.#cancelPoll || !this.#send || this.#shipments.size === 0) return;
    this.#cancelPoll = this.#options.clock.after(POLL_MS, () => {
      this.#cancelPoll = undefined;
      this.#poll();
      this.#pollLater();
    });
  }

  #poll(): void {
    const shipments = [...this.#shipments.values()];
    const isAwaited = shipments.some(({ streams }) => streams.stdout.isAwaited || streams.stderr.isAwaited);
    const now = this.#options.clock.monotonic();
    if (!isAwaited) this.#lastAnswerAt = now;
    if (now - this.#lastAnswerAt > STALLED_MS) {
      this.#lastAnswerAt = now;
      this.#rewindAll();
    }
    for (const shipment of shipments) {
      const { stdout, stderr } = shipment.streams;
      if (!shipment.hasEnded || stdout.isUnfinished || stderr.isUnfinished) this.#offerAll(shipment);
    }
  }
}
