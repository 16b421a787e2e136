import type { Clock } from '../../../shared/clock.js';
import { AppError } from '../../../shared/errors.js';
import type { Random } from '../../../shared/random.js';
import type { Cell, CellName } from './cell.js';
import type { Places } from './places.js';
import { Worker } from './worker.js';

const MAX_WORKERS = 4_096;
/** A ledger has about 80 bytes an attempt; a worker leaves before its own grows long. */
const MAX_ATTEMPTS_PER_WORKER = 1_000;
const MAX_IDLE_MS = 10_000;
/** Kept however long they are idle: to make an isolated one takes longer than to run most commands. */
const MIN_IDLE = 1;

export interface WorkerPoolOptions {
  readonly places: Places;
  readonly clock: Clock;
  readonly random: Random;
  /** Where a new worker's attempts run; null when they are not kept apart. */
  readonly makeCell: (name: CellName) => Cell | null;
  readonly exited: (worker: Worker, signal: string | null) => void;
}

export interface WorkerNeed {
  readonly cores?: string | undefined;
  /** No attempt may have run in its cell before. */
  readonly isOwn: boolean;
}

/** The workers of this process: as many as attempts run at once, kept for a while after. */
export class WorkerPool {
  readonly #options: WorkerPoolOptions;
  readonly #prefix: string;
  readonly #all = new Map<string, Worker>();
  readonly #pids = new Set<number>();
  /** Used from the end, so that those at the beginning become old. */
  #idle: Worker[] = [];
  #count = 0;

  constructor(options: WorkerPoolOptions) {
    this.#options = options;
    this.#prefix = options.random.token(4);
  }

  /**
   * An idle worker, or a new one for what takes a cell of its own: cores to keep to, or mounts, which also have to be
   * as the machine's are now. Throws `task-start-failed`. Give it back with `release`.
   */
  acquire({ cores, isOwn }: WorkerNeed): Worker {
    const idle = isOwn ? undefined : this.#idle.pop();
    if (idle) return idle;
    if (this.#all.size >= MAX_WORKERS) {
      throw new AppError('task-start-failed', `${MAX_WORKERS} tasks run on this node already`);
    }
    this.#count += 1;
    const name = `${this.#prefix}-${this.#count}`;
    const cell = this.#options.makeCell({ name, cores });
    const exited = (signal: string | null): void => this.#exited(worker, signal);
    const worker: Worker = new Worker(this.#options.places, { name, cell, exited });
    this.#all.set(worker.name, worker);
    this.#pids.add(worker.pid);
    return worker;
  }

  /** It has run its attempt. One whose cell keeps traces of that runs no other. */
  release(worker: Worker): void {
    const { cell } = worker.ledger;
    const isReusable = cell === null || cell.isClean(worker.attempt);
    worker.attempt = null;
    worker.idleSince = this.#options.clock.monotonic();
    if (!this.#all.has(worker.name)) return;
    if (isReusable && worker.attemptCount < MAX_ATTEMPTS_PER_WORKER) this.#idle.push(worker);
    else worker.dismiss();
  }

  get(name: string): Worker | undefined {
    return this.#all.get(name);
  }

  hasPid(pid: number): boolean {
    return this.#pids.has(pid);
  }

  busy(): Worker[] {
    return [...this.#all.values()].filter((worker) => worker.attempt !== null);
  }

  /** Dismisses those that have been idle for long, but for the one used last. */
  trim(): void {
    const idleBefore = this.#options.clock.monotonic() - MAX_IDLE_MS;
    const isKept = (worker: Worker, at: number): boolean =>
      worker.idleSince >= idleBefore || at >= this.#idle.length - MIN_IDLE;
    const kept = this.#idle.filter(isKept);
    for (const worker of this.#idle) if (!kept.includes(worker)) worker.dismiss();
    this.#idle = kept;
  }

  close(): void {
    for (const worker of this.#all.values()) worker.release();
    this.#all.clear();
    this.#idle = [];
  }

  #exited(worker: Worker, signal: string | null): void {
    this.#all.delete(worker.name);
    this.#pids.delete(worker.pid);
    this.#idle = this.#idle.filter((idle) => idle !== worker);
    worker.discard();
    this.#options.exited(worker, signal);
  }
}
