import type { Clock } from '../../../shared/clock.js';
import { AppError } from '../../../shared/errors.js';
import type { Log } from '../../../shared/log.js';
import { isAlive, type ProcessEntry, ProcessTableReader } from './process-table.js';
import { findTrees, type TreeRoot } from './tree.js';

/** Scans take at most this share of the time: after one of 1 ms, ends are gathered for 3 ms. */
const SCAN_REST_FACTOR = 3;
const KILL_ROUNDS = 200;
const FIRST_ROUND_MS = 2;
const LAST_ROUND_MS = 50;

interface Request {
  readonly root: TreeRoot;
  readonly signal: string;
  /** With the number of processes that were first found. */
  readonly resolve: (count: number) => void;
  readonly reject: (error: unknown) => void;
}

/**
 * Signals whole trees of processes, many with one look at /proc.
 *
 * SIGKILL is repeated until none is left, since a process may fork while its siblings are killed.
 */
export class Sweeper {
  readonly #clock: Clock;
  readonly #log: Log;
  readonly #table = new ProcessTableReader();
  #signals: Request[] = [];
  #leftovers: Request[] = [];
  #restUntil = 0;

  constructor(options: { readonly clock: Clock; readonly log: Log }) {
    this.#clock = options.clock;
    this.#log = options.log;
  }

  /**
   * Sends a signal to every process of the tree; for SIGKILL, resolves when all are gone.
   * Requests of one turn share a scan.
   *
   * @returns how many processes there were
   */
  signal(root: TreeRoot, signal: string): Promise<number> {
    return new Promise((resolve, reject) => {
      this.#signals.push({ root, signal, resolve, reject });
      if (this.#signals.length === 1) this.#clock.soon(() => this.#sendSignals());
    });
  }

  /** Kills what an ended command left behind. */
  clear(root: TreeRoot): Promise<number> {
    return new Promise((resolve, reject) => {
      this.#leftovers.push({ root, signal: 'SIGKILL', resolve, reject });
      if (this.#leftovers.length > 1) return;
      const restMs = this.#restUntil - this.#clock.monotonic();
      if (restMs <= 0) this.#clock.soon(() => this.#clearLeftovers());
      else this.#clock.after(restMs, () => this.#clearLeftovers());
    });
  }

  #sendSignals(): void {
    const requests = this.#signals;
    this.#signals = [];
    this.#deliver(requests, this.#scan(requests, 'fresh'));
  }

  #clearLeftovers(): void {
    const requests = this.#leftovers;
    this.#leftovers = [];
    const before = this.#clock.monotonic();
    const trees = this.#scan(requests, 'recent');
    const after = this.#clock.monotonic();
    this.#restUntil = after + (after - before) * SCAN_REST_FACTOR;
    // An old entry may name a process that has ended since.
    this.#deliver(
      requests,
      trees.map((tree) => tree.filter(isAlive)),
    );
  }

  #scan(requests: readonly Request[], freshness: 'fresh' | 'recent'): ProcessEntry[][] {
    const now = this.#clock.monotonic();
    const table = freshness === 'fresh' ? this.#table.fresh(now) : this.#table.recent(now);
    return findTrees(
      table,
      requests.map((request) => request.root),
    );
  }

  #deliver(requests: readonly Request[], trees: readonly ProcessEntry[][]): void {
    for (const [index, request] of requests.entries()) {
      const tree = trees[index] ?? [];
      for (const entry of tree) send(entry.pid, request.signal);
      if (request.signal !== 'SIGKILL' || tree.length === 0) request.resolve(tree.length);
      else this.#killRest({ ...request, resolve: () => request.resolve(tree.length) }, 1);
    }
  }

  #killRest(request: Request, round: number): void {
    const waitMs = Math.min(LAST_ROUND_MS, FIRST_ROUND_MS * round);
    this.#clock.after(waitMs, () => {
      const [tree = []] = this.#scan([request], 'fresh');
      if (tree.length === 0) return request.resolve(0);
      for (const entry of tree) send(entry.pid, 'SIGKILL');
      if (round < KILL_ROUNDS) return this.#killRest(request, round + 1);
      const pids = tree.map((entry) => entry.pid);
      this.#log.error('processes survive SIGKILL', { pids });
      request.reject(new AppError('internal', `processes ${pids.join(', ')} survive SIGKILL: they hang in the kernel`));
    });
  }
}

function send(pid: number, signal: string): void {
  try {
    process.kill(pid, signal);
  } catch {
    // It has ended, or it belongs to another user by now; the next round sees.
  }
}
