import { type ProcessEntry, type ProcessTable, UPTIME_GRAIN_MS } from './process-table.js';

/** How an attempt's processes are recognised. */
export interface TreeRoot {
  /**
   * The worker: it leads a session of its own, runs one attempt at a time, and is never part of the tree.
   * Null when it is gone and another process has its number: then nothing of its session is left either.
   */
  readonly workerPid: number | null;
  readonly marker: string;
  /** When the attempt began; nothing of it is older. */
  readonly startedAtUptimeMs: number;
}

/**
 * The living processes of each attempt: those in its worker's session, those that carry its marker in their
 * environment (daemons in sessions of their own), and all descendants of any of these.
 *
 * One that has left the session, emptied its environment and lost its parent cannot be told from a stranger.
 *
 * @returns as many lists as roots, in their order. Cost: O(processes + roots).
 */
export function findTrees(table: ProcessTable, roots: readonly TreeRoot[]): ProcessEntry[][] {
  const byWorker = new Map(roots.map((root, index) => [root.workerPid, index]));
  const byMarker = new Map(roots.map((root, index) => [root.marker, index]));
  const owners = new Map<number, number | undefined>();

  const ownerOf = (entry: ProcessEntry, depth: number): number | undefined => {
    if (owners.has(entry.pid)) return owners.get(entry.pid);
    // Also ends a cycle, which entries of different ages could make.
    owners.set(entry.pid, undefined);
    if (byWorker.has(entry.pid)) return undefined;
    const parent = depth < MAX_DEPTH ? table.get(entry.parent) : undefined;
    const owner =
      (entry.marker === null ? undefined : byMarker.get(entry.marker)) ??
      byWorker.get(entry.session) ??
      byWorker.get(entry.parent) ??
      (parent && ownerOf(parent, depth + 1));
    owners.set(entry.pid, owner);
    return owner;
  };

  const trees: ProcessEntry[][] = roots.map(() => []);
  const oldestMs = Math.min(...roots.map(({ startedAtUptimeMs }) => startedAtUptimeMs)) - UPTIME_GRAIN_MS;
  for (const entry of table.values()) {
    if (entry.startedAtUptimeMs < oldestMs) continue;
    const owner = ownerOf(entry, 0);
    if (owner !== undefined && !entry.isZombie) trees[owner]?.push(entry);
  }
  return trees;
}

/** Deeper nests of processes than any kernel setting allows in practice; bounds the recursion. */
const MAX_DEPTH = 1_000;
