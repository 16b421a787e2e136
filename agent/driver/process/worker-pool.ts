import type { Clock } from '../../../shared/clock.js';
import { AppError } from '../../../shared/errors.js';
import type { Random } from '../../../shared/random.js';
import type { Places } from './places.js';
import { Worker } from './worker.js';

const MAX_WORKERS = 4_096;
/** A ledger has about 80 bytes an attempt; a worker leaves before its own grows long. */
const MAX_ATTEMPTS_PER_WORKER = 1_000;
const MAX_IDLE_MS = 10_000;

export interface WorkerPoolOptions {
  readonly places: Places;
  readonly clock: Clock;
  readonly random: Random;
  readonly exited: (worker: Worker, signal: string | null) => void;
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

  /** An idle worker. Throws `task-start-failed`. Give it back with `release`. */
  acquire(): Worker {
    const idle = this.#idle.pop();
    if (idle) return idle;
    if (this.#all.size >= MAX_WORKERS) {
      throw new AppError('task-start-failed', `${MAX_WORKERS} tasks run on this node already`);
    }
    this.#count += 1;
    const worker: Worker = new Worker(this.#options.places, `${this.#prefix}-${this.#count}`, (signal) =>
      this.#exited(worker, signal),
    );
    this.#all.set(worker.name, worker);
    this.#pids.add(worker.pid);
    return worker;
  }

  release(worker: Worker): void {
    worker.attempt = null;
    worker.idleSince = this.#options.clock.monotonic();
    if (!this.#all.has(worker.name)) return;
    if (worker.attemptCount < MAX_ATTEMPTS_PER_WORKER) this.#idle.push(worker);
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

  /** Dismisses those that have been idle for long. */
  trim(): void {
    const idleBefore = this.#options.clock.monotonic() - MAX_IDLE_MS;
    for (const worker of this.#idle) if (worker.idleSince < idleBefore) worker.dismiss();
    this.#idle = this.#idle.filter((worker) => worker.idleSince >= idleBefore);
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
