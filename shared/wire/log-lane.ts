import type { Cancel, Clock } from '../clock.js';
import type { Channel } from './channel.js';
import { WIRE_LIMITS } from './limits.js';
import type { LogAck, LogChunk } from './messages.js';

/** What a stream on its way costs beside its bytes, so that a thousand tiny ones are not nothing. */
const STREAM_COST_BYTES = 256;
/** How soon a full socket is looked at again for room. */
const SOCKET_ROOM_MS = 50;

/** A stream of which something was sent and is not acknowledged. */
interface Flight {
  /** The peer has the stream up to here. */
  readonly from: number;
  /** It was sent up to here. */
  readonly to: number;
}

/** Decides how much output may be on its way: little, so that a control frame behind it is not late. */
export class LogLane {
  readonly #channel: Channel;
  readonly #clock: Clock;
  readonly #room: () => void;
  readonly #flights = new Map<string, Flight>();
  #byteCount = 0;
  #cancelRoom: Cancel | undefined;

  /** `room` is called when there is room again after `admit` has said no. */
  constructor(channel: Channel, clock: Clock, room: () => void) {
    this.#channel = channel;
    this.#clock = clock;
    this.#room = room;
  }

  /** Whether the chunk may be sent now; it then counts as sent. */
  admit(chunk: LogChunk): boolean {
    if (this.#isFull() || this.#channel.bufferedBytes() > WIRE_LIMITS.logChunkBytes) {
      this.#watchRoom();
      return false;
    }
    const key = keyOf(chunk);
    const from = Math.min(this.#flights.get(key)?.from ?? chunk.offset, chunk.offset);
    this.#replace(key, { from, to: chunk.offset + chunk.bytes.length });
    return true;
  }

  /** An answer that brings the stream no further means that a chunk was dropped, and those behind it will be. */
  acknowledged(ack: LogAck): void {
    const key = keyOf(ack);
    const flight = this.#flights.get(key);
    if (flight !== undefined) {
      const hasLanded = ack.offset >= flight.to || ack.offset <= flight.from;
      this.#replace(key, hasLanded ? undefined : { from: ack.offset, to: flight.to });
    }
    if (this.#cancelRoom !== undefined && !this.#isFull()) this.#tellRoom();
  }

  stop(): void {
    this.#cancelRoom?.();
  }

  #isFull(): boolean {
    return this.#byteCount >= WIRE_LIMITS.logWindowBytes;
  }

  #replace(key: string, flight: Flight | undefined): void {
    this.#byteCount += costOf(flight) - costOf(this.#flights.get(key));
    if (flight === undefined) this.#flights.delete(key);
    else this.#flights.set(key, flight);
  }

  #watchRoom(): void {
    if (this.#cancelRoom !== undefined) return;
    const isWindowFull = this.#isFull();
    this.#cancelRoom = this.#clock.after(isWindowFull ? WIRE_LIMITS.resendAfterMs : SOCKET_ROOM_MS, () => {
      if (isWindowFull) this.#forget();
      this.#tellRoom();
    });
  }

  /** Acknowledgements free the window; without any for so long, what was sent is taken for lost. */
  #forget(): void {
    this.#flights.clear();
    this.#byteCount = 0;
  }

  #tellRoom(): void {
    this.#cancelRoom?.();
    this.#cancelRoom = undefined;
    this.#room();
  }
}

function costOf(flight: Flight | undefined): number {
  return flight === undefined ? 0 : flight.to - flight.from + STREAM_COST_BYTES;
}

function keyOf({ allocationId, stream }: LogChunk | LogAck): string {
  return `${allocationId} ${stream}`;
}
