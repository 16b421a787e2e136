import { Bug } from '../assert.js';
import type { Cancel, Clock } from '../clock.js';
import { isAppError } from '../errors.js';
import type { Log } from '../log.js';
import { type Channel, CLOSE } from './channel.js';
import { decodeFrame, encodeFrame } from './codec.js';
import { divide } from './divide.js';
import { WIRE_LIMITS } from './limits.js';
import { Liveness } from './liveness.js';
import { LogLane } from './log-lane.js';
import { type Body, type BodyKind, type Frame, type LogChunk, SEQUENCED_KINDS } from './messages.js';
import { ReceiveWindow } from './receive-window.js';
import { SendWindow } from './send-window.js';

export interface SessionHandlers {
  /**
   * A message of the peer, in order. For a sequenced kind the returned promise decides the acknowledgement: it resolves
   * when what the message says is durable here. A rejection ends the session.
   */
  message(body: Body): Promise<void> | void;
  /** Exactly once; nothing is delivered after it. */
  closed(code: number, reason: string): void;
  /** Room for log bytes: called once more may be offered, after `sendLog` has said no. */
  logRoom?(): void;
}

export interface SessionOptions {
  readonly clock: Clock;
  readonly log: Log;
}

interface Outgoing {
  readonly kind: BodyKind;
  readonly seq: number;
  readonly bytes: Uint8Array;
  readonly acknowledged: (() => void) | undefined;
}

/**
 * One conversation over one channel; it ends with the channel.
 *
 * Sequenced kinds (orders, reports) arrive in order and exactly once per session: go-back-N, in which the receiver
 * takes only the next frame, and the sender sends all unacknowledged ones again when acknowledgements stop moving. A
 * WebSocket loses nothing, so that is for a peer that dropped a frame, and for the simulator. Everything else travels at
 * most once. Output has a window of its own, so small that a control frame never waits long behind it.
 *
 * Handlers are not called before the code that constructs the session has returned.
 */
export class Session {
  readonly #channel: Channel;
  readonly #handlers: SessionHandlers;
  readonly #clock: Clock;
  readonly #log: Log;
  readonly #liveness: Liveness;
  readonly #logLane: LogLane;
  readonly #sent = new SendWindow();
  readonly #received = new ReceiveWindow();
  #isOpen = true;
  /** When acknowledgements last moved, or the first frame of a new wait was sent. */
  #progressAt = 0;
  #cancelAck: Cancel | undefined;
  #cancelResend: Cancel | undefined;

  constructor(channel: Channel, handlers: SessionHandlers, options: SessionOptions) {
    this.#channel = channel;
    this.#handlers = handlers;
    this.#clock = options.clock;
    this.#log = options.log;
    this.#liveness = new Liveness(channel, options.clock, () => this.close(CLOSE.silent, 'no sign of life'));
    this.#logLane = new LogLane(channel, options.clock, () => handlers.logRoom?.());
    queueMicrotask(() => this.#listen());
  }

  get isOpen(): boolean {
    return this.#isOpen;
  }

  /**
   * Sends at once, in as many frames as the limits ask for. A closed session sends nothing.
   * A body that fits no frame, or too many unacknowledged ones, closes the session.
   *
   * @param acknowledged  called when the peer has taken over the whole of a sequenced body; never after the end
   */
  send(body: Body, acknowledged?: () => void): void {
    if (!this.#isOpen) return;
    const seq = SEQUENCED_KINDS.has(body.kind) ? this.#sent.lastSeq + 1 : 0;
    const bytes = encodeFrame({ seq, ack: this.#received.acked, body });
    const parts = bytes.length > WIRE_LIMITS.splitFrameBytes ? divide(body, bytes.length) : [];
    if (parts.length <= 1) this.#transmit({ kind: body.kind, seq, bytes, acknowledged });
    else for (const part of parts) this.send(part, part === parts.at(-1) ? acknowledged : undefined);
  }

  /** Sends output if there is room for it now; false when not: `logRoom` tells when to offer it again. */
  sendLog(chunk: LogChunk): boolean {
    if (!this.#isOpen || !this.#logLane.admit(chunk)) return false;
    this.send({ kind: 'log-chunk', chunk });
    return true;
  }

  /** Whether the peer gives a sign of life within the time; false when the session is closed, or closes meanwhile. */
  probe(withinMs: number): Promise<boolean> {
    return this.#isOpen ? this.#liveness.probe(withinMs) : Promise.resolve(false);
  }

  /** Ends the session and its channel; `closed` is called before this returns. Idempotent. */
  close(code: number, reason: string): void {
    if (!this.#isOpen) return;
    this.#isOpen = false;
    this.#liveness.stop();
    this.#logLane.stop();
    this.#cancelAck?.();
    this.#cancelResend?.();
    this.#channel.close(code, reason);
    this.#handlers.closed(code, reason);
  }

  #listen(): void {
    if (!this.#isOpen) return;
    this.#channel.listen({
      message: (bytes) => this.#receive(bytes),
      alive: () => this.#liveness.signOfLife(),
      closed: (code, reason) => this.close(code, reason),
    });
  }

  #transmit({ kind, seq, bytes, acknowledged }: Outgoing): void {
    if (bytes.length > WIRE_LIMITS.maxFrameBytes) {
      this.#log.error('message is too large to send', { kind, byteCount: bytes.length });
      this.close(CLOSE.tooBig, `a ${kind} of ${bytes.length} bytes fits no frame`);
      return;
    }
    if (seq > 0) this.#keep(bytes, acknowledged);
    if (!this.#isOpen) return;
    this.#cancelAck?.();
    this.#cancelAck = undefined;
    this.#channel.send(bytes);
  }

  #keep(bytes: Uint8Array, acknowledged: (() => void) | undefined): void {
    if (this.#sent.isEmpty) this.#progressAt = this.#clock.monotonic();
    this.#sent.add(bytes, acknowledged);
    if (this.#sent.isOverfull) this.close(CLOSE.overflow, 'too many unacknowledged frames');
    else this.#watchProgress();
  }

  #receive(bytes: Uint8Array): void {
    if (!this.#isOpen) return;
    this.#liveness.signOfLife();
    if (bytes.length > WIRE_LIMITS.maxFrameBytes) {
      this.close(CLOSE.tooBig, `a frame of ${bytes.length} bytes`);
      return;
    }
    try {
      this.#take(decodeFrame(bytes));
    } catch (error) {
      if (!isAppError(error, 'protocol-violation')) throw error;
      this.#violated(error.message);
    }
  }

  #take({ seq, ack, body }: Frame): void {
    const mayBeInside = SEQUENCED_KINDS.has(body.kind) || body.kind === 'nothing';
    if (ack > this.#sent.lastSeq) this.#violated(`frame ${ack} was never sent`);
    else if (seq > 0 && !mayBeInside) this.#violated(`a ${body.kind} is inside the sequence`);
    else if (seq === 0 && SEQUENCED_KINDS.has(body.kind)) this.#violated(`a ${body.kind} is outside the sequence`);
    else {
      if (this.#sent.acknowledge(ack)) this.#progressAt = this.#clock.monotonic();
      if (seq > 0) this.#takeSequenced(seq, body);
      else this.#deliver(body, () => {});
      if (body.kind === 'log-ack' && this.#isOpen) this.#logLane.acknowledged(body.ack);
    }
  }

  #takeSequenced(seq: number, body: Body): void {
    if (!this.#received.take(seq)) {
      // Behind a gap: the peer will send again from the gap on. A duplicate: our acknowledgement was lost.
      this.#acknowledgeSoon();
      return;
    }
    if (this.#received.pendingCount > WIRE_LIMITS.maxUnackedFrames) {
      this.close(CLOSE.overflow, 'more frames than the window allows');
      return;
    }
    this.#deliver(body, () => {
      if (this.#received.done(seq)) this.#acknowledgeSoon();
    });
  }

  #deliver(body: Body, done: () => void): void {
    if (!this.#isOpen) return;
    if (body.kind === 'nothing') {
      done();
      return;
    }
    try {
      const taken = this.#handlers.message(body);
      if (taken === undefined) done();
      else taken.then(done, (error: unknown) => this.#failed(body.kind, error));
    } catch (error) {
      this.#failed(body.kind, error);
    }
  }

  /** The handler could not take a message over. A broken promise of our own code goes on to stop the process. */
  #failed(kind: BodyKind, error: unknown): void {
    if (error instanceof Bug) throw error;
    if (!this.#isOpen) return;
    if (isAppError(error, 'protocol-violation')) {
      this.#violated(error.message);
      return;
    }
    this.#log.error('message could not be taken over', { kind, error });
    this.close(CLOSE.goingAway, `a ${kind} could not be taken over`);
  }

  #violated(violation: string): void {
    this.#log.warn('peer broke the protocol', { violation });
    this.close(CLOSE.protocolViolation, violation);
  }

  #acknowledgeSoon(): void {
    if (!this.#isOpen || this.#cancelAck !== undefined) return;
    this.#cancelAck = this.#clock.after(WIRE_LIMITS.ackDelayMs, () => this.send({ kind: 'nothing' }));
  }

  /** One timer for all frames: when it fires it finds out whether acknowledgements have moved since. */
  #watchProgress(): void {
    if (this.#cancelResend !== undefined || this.#sent.isEmpty) return;
    const waitMs = this.#progressAt + WIRE_LIMITS.resendAfterMs - this.#clock.monotonic();
    this.#cancelResend = this.#clock.after(waitMs, () => {
      this.#cancelResend = undefined;
      if (this.#clock.monotonic() >= this.#progressAt + WIRE_LIMITS.resendAfterMs) this.#resend();
      this.#watchProgress();
    });
  }

  #resend(): void {
    this.#progressAt = this.#clock.monotonic();
    // While the first copies have not left this process, more would only be in their way.
    if (this.#channel.bufferedBytes() > 0) return;
    for (const bytes of this.#sent.unacked()) this.#channel.send(bytes);
  }
}
