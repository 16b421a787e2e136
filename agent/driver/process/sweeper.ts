import type { Clock } from '../../../shared/clock.js';
import { AppError } from '../../../shared/errors.js';
import type { Log } from '../../../shared/log.js';
import { isAlive, type ProcessEntry, type ProcessTable, ProcessTableReader, UPTIME_GRAIN_MS } from './process-table.js';
import { findTrees, type TreeRoot } from './tree.js';

/** Scans take at most this share of the time: after one of 1 ms, ends are gathered for 6 ms. */
const SCAN_REST_FACTOR = 6;
/** They are gathered for so long in any case: most of a scan's cost does not depend on how many it is for. */
const MIN_SCAN_REST_MS = 5;
const KILL_ROUNDS = 200;
const FIRST_ROUND_MS = 2;
const LAST_ROUND_MS = 50;
/** Whoever has no parent any more comes to this one in the end. */
const INIT = 1;
/** Deeper nests of processes are not followed. */
const MAX_DEPTH = 1_000;
/** The parent of the kernel's own threads. */
const KERNEL_THREADS = 2;

interface Request {
  readonly root: TreeRoot;
  readonly signal: string;
  readonly resolve: (found: Found) => void;
  readonly reject: (error: unknown) => void;
}

/** What a request met. */
export interface Found {
  /** Processes of the tree when it was first looked at. */
  readonly count: number;
  /**
   * True when a living process is as young as the tree and belongs to nobody we know. It may have escaped from the
   * tree, and may still hold its files open.
   */
  readonly hasStranger: boolean;
}

export interface SweeperOptions {
  readonly clock: Clock;
  readonly log: Log;
  /** Whether a process is a worker of this agent. */
  readonly isWorker: (pid: number) => boolean;
}

/**
 * Signals whole trees of processes, many with one look at /proc.
 *
 * SIGKILL is repeated until none is left, since a process may fork while its siblings are killed.
 */
export class Sweeper {
  readonly #clock: Clock;
  readonly #log: Log;
  readonly #isWorker: (pid: number) => boolean;
  readonly #table: ProcessTableReader;
  #signals: Request[] = [];
  #leftovers: Request[] = [];
  #restUntil = 0;

  constructor(options: SweeperOptions) {
    this.#clock = options.clock;
    this.#log = options.log;
    this.#isWorker = options.isWorker;
    this.#table = new ProcessTableReader(options.isWorker);
  }

  /**
   * Sends a signal to every process of the tree; for SIGKILL, resolves when all are gone.
   * Requests of one turn share a scan.
   */
  signal(root: TreeRoot, signal: string): Promise<Found> {
    return new Promise((resolve, reject) => {
      this.#signals.push({ root, signal, resolve, reject });
      if (this.#signals.length === 1) this.#clock.soon(() => this.#sendSignals());
    });
  }

  /** Kills what an ended command left behind. */
  clear(root: TreeRoot): Promise<Found> {
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
    const table = this.#table.fresh(this.#clock.monotonic());
    const youngestStrangerMs = this.#youngestStrangerMs(table, oldestOf(requests));
    this.#deliver(requests, { trees: treesOf(table, requests), youngestStrangerMs });
  }

  #clearLeftovers(): void {
    const requests = this.#leftovers;
    this.#leftovers = [];
    const before = this.#clock.monotonic();
    const table = this.#table.recent(before);
    const trees = treesOf(table, requests);
    const youngestStrangerMs = this.#youngestStrangerMs(table, oldestOf(requests));
    const after = this.#clock.monotonic();
    this.#restUntil = after + Math.max(MIN_SCAN_REST_MS, (after - before) * SCAN_REST_FACTOR);
    // An old entry may name a process that has ended since.
    this.#deliver(requests, { trees: trees.map((tree) => tree.filter(isAlive)), youngestStrangerMs });
  }

  /**
   * When the youngest process started that is no worker, no part of any attempt's tree that we could recognise, and may
   * have been one: its parents lead to a process that is gone, or to one that is left the orphans of an attempt.
   */
  #youngestStrangerMs(table: ProcessTable, oldestMs: number): number {
    const heirs = ancestorsOf(table, process.pid);
    const mayBeOrphan = ({ parent }: ProcessEntry, depth: number): boolean => {
      const found = table.get(parent);
      if (found === undefined || heirs.has(parent) || depth > MAX_DEPTH) return true;
      // What an older process started that is none of ours is no attempt's either.
      return found.startedAtUptimeMs + UPTIME_GRAIN_MS >= oldestMs && mayBeOrphan(found, depth + 1);
    };
    // Older ones than all that is asked about cannot be of it.
    let youngestMs = oldestMs - UPTIME_GRAIN_MS - 1;
    for (const entry of table.values()) {
      const { pid, parent, session, marker, isZombie, startedAtUptimeMs } = entry;
      if (startedAtUptimeMs <= youngestMs || isZombie || parent === KERNEL_THREADS || marker !== null) continue;
      if (this.#isWorker(pid) || this.#isWorker(session) || !mayBeOrphan(entry, 0)) continue;
      youngestMs = startedAtUptimeMs;
    }
    return youngestMs;
  }

  #deliver(requests: readonly Request[], seen: Seen): void {
    for (const [index, request] of requests.entries()) {
      const tree = seen.trees[index] ?? [];
      const hasStranger = seen.youngestStrangerMs + UPTIME_GRAIN_MS >= request.root.startedAtUptimeMs;
      const found = { count: tree.length, hasStranger };
      for (const entry of tree) send(entry.pid, request.signal);
      if (request.signal !== 'SIGKILL' || tree.length === 0) request.resolve(found);
      else this.#killRest({ ...request, resolve: () => request.resolve(found) }, 1);
    }
  }

  #killRest(request: Request, round: number): void {
    const waitMs = Math.min(LAST_ROUND_MS, FIRST_ROUND_MS * round);
    this.#clock.after(waitMs, () => {
      const [tree = []] = treesOf(this.#table.fresh(this.#clock.monotonic()), [request]);
      if (tree.length === 0) return request.resolve(NOTHING_FOUND);
      for (const entry of tree) send(entry.pid, 'SIGKILL');
      if (round < KILL_ROUNDS) return this.#killRest(request, round + 1);
      const pids = tree.map((entry) => entry.pid);
      this.#log.error('processes survive SIGKILL', { pids });
      request.reject(new AppError('internal', `processes ${pids.join(', ')} survive SIGKILL: they hang in the kernel`));
    });
  }
}

interface Seen {
  readonly trees: readonly ProcessEntry[][];
  readonly youngestStrangerMs: number;
}

const NOTHING_FOUND: Found = { count: 0, hasStranger: false };

function treesOf(table: ProcessTable, requests: readonly Request[]): ProcessEntry[][] {
  return findTrees(
    table,
    requests.map((request) => request.root),
  );
}

function oldestOf(requests: readonly Request[]): number {
  return Math.min(...requests.map(({ root }) => root.startedAtUptimeMs));
}

/** Itself and its parents: whom orphans of what it starts can come to. */
function ancestorsOf(table: ProcessTable, pid: number): ReadonlySet<number> {
  const ancestors = new Set<number>([INIT]);
  for (let at: number | undefined = pid; at !== undefined && !ancestors.has(at); at = table.get(at)?.parent) {
    ancestors.add(at);
  }
  return ancestors;
}

function send(pid: number, signal: string): void {
  try {
    process.kill(pid, signal);
  } catch {
    // It has ended, or it belongs to another user by now; the next round sees.
  }
}
