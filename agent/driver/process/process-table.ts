import { closeSync, openSync, readdirSync, readSync } from 'node:fs';
import type { Clock } from '../../../shared/clock.js';
import { MARKER } from './order-script.js';

/** A process as /proc shows it to everybody. */
export interface ProcessStat {
  readonly pid: number;
  readonly parent: number;
  readonly session: number;
  /** With the pid it names a process for good. */
  readonly startedAtUptimeMs: number;
  readonly isZombie: boolean;
}

export interface ProcessEntry extends ProcessStat {
  /**
   * The attempt whose environment it carries; null when none, when the process is not ours to read, and when its session
   * tells as much.
   */
  readonly marker: string | null;
}

export type ProcessTable = ReadonlyMap<number, ProcessEntry>;

/** Linux shows times to programs in hundredths of a second, whatever the kernel counts in (USER_HZ). */
const MS_PER_TICK = 10;
/** Uptimes and start times are counted in such ticks: what is told of one moment may differ by so much. */
export const UPTIME_GRAIN_MS = 20;
/** How long an entry of an earlier table may stand for a process. */
const ENTRY_LIFE_MS = 2_000;

/**
 * Reads /proc. Synchronous: the kernel answers from memory.
 *
 * Cost: 25 µs per process that it has not seen lately, half of that for one of a known session, and under 1 µs for the
 * others.
 */
export class ProcessTableReader {
  readonly #isKnownSession: (session: number) => boolean;
  #table = new Map<number, ReadEntry>();

  /** @param isKnownSession  whether whose its processes are is known without a look at their environments */
  constructor(isKnownSession: (session: number) => boolean) {
    this.#isKnownSession = isKnownSession;
  }

  /** Every process, read anew. */
  fresh(nowMs: number): ProcessTable {
    this.#table.clear();
    return this.recent(nowMs);
  }

  /**
   * Every process, with entries of up to ENTRY_LIFE_MS ago. Good enough to find what an ended command left behind: a
   * process is born with the session and the environment that make it a member.
   */
  recent(nowMs: number): ProcessTable {
    const table = new Map<number, ReadEntry>();
    for (const name of readdirSync('/proc')) {
      const pid = Number(name);
      if (!Number.isInteger(pid)) continue;
      const known = this.#table.get(pid);
      const entry = known !== undefined && nowMs - known.readAt < ENTRY_LIFE_MS ? known : this.#read(pid, nowMs);
      if (entry) table.set(pid, entry);
    }
    this.#table = table;
    return table;
  }

  #read(pid: number, readAt: number): ReadEntry | undefined {
    const found = readStat(pid);
    return found && { ...found, marker: this.#isKnownSession(found.session) ? null : readMarker(pid), readAt };
  }
}

interface ReadEntry extends ProcessEntry {
  readonly readAt: number;
}

/** Undefined when there is no such process. */
export function readStat(pid: number): ProcessStat | undefined {
  const stat = readText(`/proc/${pid}/stat`);
  // The name is in parentheses and may hold anything, parentheses too.
  const fields = stat?.slice(stat.lastIndexOf(')') + 2).split(' ');
  if (!fields) return undefined;
  return {
    pid,
    parent: Number(fields[1]),
    session: Number(fields[3]),
    startedAtUptimeMs: Number(fields[19]) * MS_PER_TICK,
    isZombie: fields[0] === 'Z' || fields[0] === 'X',
  };
}

/** Whether the process that the entry names is still there and not dead. */
export function isAlive(entry: ProcessStat): boolean {
  const now = readStat(entry.pid);
  return now !== undefined && now.startedAtUptimeMs === entry.startedAtUptimeMs && !now.isZombie;
}

export function uptimeMs(): number {
  return Math.round(Number(readText('/proc/uptime')?.split(' ')[0]) * 1_000);
}

/** How long the uptime is reckoned with another clock, which does not count while the machine sleeps. */
const RECKONED_MS = 1_000;

/** Tells the uptime often: to read it costs the kernel a sum over all CPUs. */
export class UptimeClock {
  readonly #clock: Clock;
  #readAt = Number.NEGATIVE_INFINITY;
  #uptimeMs = 0;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  now(): number {
    const now = this.#clock.monotonic();
    if (now - this.#readAt >= RECKONED_MS) {
      this.#readAt = now;
      this.#uptimeMs = uptimeMs();
    }
    return this.#uptimeMs + now - this.#readAt;
  }

  /** When it was that time of day. */
  at(epochMs: number): number {
    return this.now() - (this.#clock.now() - epochMs);
  }
}

function readMarker(pid: number): string | null {
  const environment = readText(`/proc/${pid}/environ`);
  if (environment === undefined) return null;
  const prefix = `${MARKER}=`;
  const at = environment.startsWith(prefix) ? 0 : environment.indexOf(`\0${prefix}`) + 1;
  if (at === 0 && !environment.startsWith(prefix)) return null;
  const end = environment.indexOf('\0', at);
  return environment.slice(at + prefix.length, end < 0 ? undefined : end);
}

const chunk = Buffer.alloc(64 * 1024);

function readText(path: string): string | undefined {
  let file: number | undefined;
  try {
    file = openSync(path, 'r');
    let text = '';
    for (;;) {
      const count = readSync(file, chunk, 0, chunk.length, null);
      text += chunk.toString('latin1', 0, count);
      if (count < chunk.length) return text;
    }
  } catch {
    // Gone, or another user's: either way not ours.
    return undefined;
  } finally {
    if (file !== undefined) closeSync(file);
  }
}
