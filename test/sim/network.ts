import type { Clock } from '../../shared/clock.js';
import { below, type Random } from '../../shared/random.js';
import { type Channel, type ChannelListener, CLOSE } from '../../shared/wire/channel.js';

/** How badly messages travel at the moment. Rates are per message, from 0 to 1. */
export interface Weather {
  readonly dropRate: number;
  readonly duplicateRate: number;
  /** Each message is late by a time of its own up to this, so later ones may overtake it. */
  readonly maxDelayMs: number;
}

export const FAIR: Weather = { dropRate: 0, duplicateRate: 0, maxDelayMs: 3 };

/** Agents dial through it; it delays, drops, doubles, reorders, and cuts nodes off. */
export class SimNetwork {
  weather: Weather = FAIR;
  readonly #clock: Clock;
  readonly #random: Random;
  /** Nodes whose packets vanish, in both directions, without anybody being told. */
  readonly #cut = new Set<string>();
  readonly #open = new Map<string, Set<Pipe>>();

  constructor(clock: Clock, random: Random) {
    this.#clock = clock;
    this.#random = random;
  }

  change(weather: Weather): void {
    this.weather = weather;
  }

  /** Fair weather, and nobody is cut off. */
  calm(): void {
    this.weather = FAIR;
    this.#cut.clear();
  }

  cut(node: string): void {
    this.#cut.add(node);
  }

  mend(node: string): void {
    this.#cut.delete(node);
  }

  /** A connection of `node`: the agent's end, and the coordinator's. Undefined while the node is cut off. */
  connect(node: string): { readonly agentEnd: Channel; readonly coordinatorEnd: Channel } | undefined {
    if (this.#cut.has(node)) return undefined;
    const carry = (deliver: () => void): void => this.#carry(node, deliver);
    const agentEnd = new Pipe(carry);
    const coordinatorEnd = new Pipe(carry);
    agentEnd.peer = coordinatorEnd;
    coordinatorEnd.peer = agentEnd;
    const pipes = this.#open.get(node) ?? new Set();
    this.#open.set(node, pipes.add(agentEnd).add(coordinatorEnd));
    return { agentEnd, coordinatorEnd };
  }

  /** The process at one end died: its kernel resets the connections, and its peer hears of it, if it can. */
  reset(node: string): void {
    for (const pipe of this.#open.get(node) ?? []) pipe.close(CLOSE.goingAway, 'connection reset');
    this.#open.delete(node);
  }

  resetAll(): void {
    for (const node of [...this.#open.keys()]) this.reset(node);
  }

  #carry(node: string, deliver: () => void): void {
    const { dropRate, duplicateRate, maxDelayMs } = this.weather;
    if (this.#random.next() < dropRate) return;
    const copies = this.#random.next() < duplicateRate ? 2 : 1;
    for (let copy = 0; copy < copies; copy += 1) {
      this.#clock.after(1 + below(this.#random, maxDelayMs), () => {
        if (!this.#cut.has(node)) deliver();
      });
    }
  }
}

class Pipe implements Channel {
  peer: Pipe | undefined;
  readonly #carry: (deliver: () => void) => void;
  #listener: ChannelListener | undefined;
  #early: Uint8Array[] = [];
  #isOpen = true;

  constructor(carry: (deliver: () => void) => void) {
    this.#carry = carry;
  }

  send(bytes: Uint8Array): void {
    if (!this.#isOpen) return;
    const copy = bytes.slice();
    this.#carry(() => this.peer?.receive(copy));
  }

  get isOpen(): boolean {
    return this.#isOpen;
  }

  ping(): void {
    if (!this.#isOpen) return;
    this.#carry(() => {
      // An end that is closed answers nothing, also when word of its closing was lost.
      if (!this.peer?.isOpen) return;
      this.peer.alive();
      this.#carry(() => this.alive());
    });
  }

  close(code: number, reason: string): void {
    if (!this.#isOpen) return;
    this.closed(code, reason);
    this.#carry(() => this.peer?.closed(code, reason));
  }

  bufferedBytes(): number {
    return 0;
  }

  listen(listener: ChannelListener): void {
    this.#listener = listener;
    for (const bytes of this.#early.splice(0)) listener.message(bytes);
  }

  receive(bytes: Uint8Array): void {
    if (!this.#isOpen) return;
    if (this.#listener) this.#listener.message(bytes);
    else this.#early.push(bytes);
  }

  alive(): void {
    if (this.#isOpen) this.#listener?.alive();
  }

  closed(code: number, reason: string): void {
    if (!this.#isOpen) return;
    this.#isOpen = false;
    this.#listener?.closed(code, reason);
  }
}
