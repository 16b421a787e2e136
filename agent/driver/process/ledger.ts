import type { AllocationId } from '../../../shared/ids.js';
import { SIGNAL_EXIT_BASE, signalName } from '../../../shared/outcome.js';
import type { DriverEnd } from '../driver.js';
import { isWordOf } from './signal-words.js';

/** What one line of a worker's ledger says; worker.sh writes them. */
export type LedgerEntry =
  | { readonly kind: 'run'; readonly allocationId: AllocationId; readonly run: Run }
  | {
      readonly kind: 'exit';
      readonly allocationId: AllocationId;
      readonly end: DriverEnd | 'revoked';
      readonly isDirty: boolean;
      /** CPU time of its processes that were waited for; undefined where the worker does not tell. */
      readonly cpuMs: number | undefined;
    };

/** The start of an attempt: its worker's process, and when, in milliseconds since boot (which no clock change moves). */
export interface Run {
  readonly pid: number;
  readonly atUptimeMs: number;
}

/** A torn line, left by a full disk, may precede what counts. */
const RUN = /run (j\S+) (\d+) (\d+\.\d+)$/;
/** The time is of workers that an agent of an earlier version left. */
const EXIT = /exit (j\S+) (\d+|revoked)(?: (\d+\.\d+))?( dirty)?$/;
/** As a shell's `times` prints them, for itself and then for its children. */
const TIMES = /^(\d+)m(\d+\.\d+)s (\d+)m(\d+\.\d+)s$/;
const FAIL = /fail (j\S+) (.*)$/;

/** Tells the end of what an attempt wrote to stderr, and is told whether it is the newest of its worker. */
export type LastWords = (id: AllocationId, isNewest: boolean) => string;

/** Reads a ledger as it grows. Only whole lines count, and of these only the forms above. */
export class LedgerReader {
  readonly #lastWords: LastWords;
  #rest = '';
  #run: Run | undefined;
  #failure: string | undefined;
  /** CPU time of all commands of the worker, before the last one and after it. */
  #cpuBeforeMs = 0;
  #cpuMs: number | undefined;

  constructor(lastWords: LastWords) {
    this.#lastWords = lastWords;
  }

  /** @param writtenAtUptimeMs  when its last line was written */
  push(text: string, writtenAtUptimeMs: () => number): LedgerEntry[] {
    const lines = (this.#rest + text).split('\n');
    this.#rest = lines.pop() ?? '';
    const entries: LedgerEntry[] = [];
    for (const [at, line] of lines.entries()) {
      const entry = this.#read(line, () => nextRunOf(lines, at), writtenAtUptimeMs);
      if (entry) entries.push(entry);
    }
    return entries;
  }

  #read(
    line: string,
    nextRun: () => RegExpExecArray | undefined,
    writtenAtUptimeMs: () => number,
  ): LedgerEntry | undefined {
    const run = RUN.exec(line);
    if (run) {
      this.#run = { pid: Number(run[2]), atUptimeMs: uptimeMs(run[3]) };
      this.#failure = undefined;
      return { kind: 'run', allocationId: run[1] as AllocationId, run: this.#run };
    }
    const exit = EXIT.exec(line);
    if (exit) {
      const allocationId = exit[1] as AllocationId;
      const next = nextRun();
      const lastWords = (): string => this.#lastWords(allocationId, next === undefined);
      // Another has begun since only where an agent died that had read this: then it ended before that at any rate.
      const told = exit[3] ?? next?.[3];
      const endedAt = told === undefined ? writtenAtUptimeMs() : uptimeMs(told);
      const end = this.#endOf(lastWords, exit[2] ?? '', endedAt);
      return { kind: 'exit', allocationId, end, isDirty: exit[4] !== undefined, cpuMs: this.#takeCpuMs() };
    }
    const times = TIMES.exec(line);
    if (times) this.#cpuMs = secondsIn(times) * 1_000;
    const failure = FAIL.exec(line);
    if (failure) this.#failure = failure[2];
    return undefined;
  }

  #takeCpuMs(): number | undefined {
    const total = this.#cpuMs;
    if (total === undefined) return undefined;
    const own = total - this.#cpuBeforeMs;
    this.#cpuBeforeMs = total;
    this.#cpuMs = undefined;
    return Math.round(own);
  }

  #endOf(lastWords: () => string, status: string, atUptimeMs: number): DriverEnd | 'revoked' {
    if (status === 'revoked') return 'revoked';
    if (this.#failure !== undefined) return { kind: 'start-failed', message: this.#failure };
    const code = Number(status);
    const ranMs = Math.max(0, Math.round(atUptimeMs - (this.#run?.atUptimeMs ?? atUptimeMs)));
    const signal = code > SIGNAL_EXIT_BASE ? code - SIGNAL_EXIT_BASE : 0;
    const isSignal = signal > 0 && isWordOf(signal, lastWords);
    return isSignal
      ? { kind: 'signaled', signal: signalName(signal), ranMs }
      : { kind: 'exited', exitCode: code, ranMs };
  }
}

function nextRunOf(lines: readonly string[], at: number): RegExpExecArray | undefined {
  for (const later of lines.slice(at + 1)) {
    const run = RUN.exec(later);
    if (run) return run;
  }
  return undefined;
}

function uptimeMs(text: string | undefined): number {
  return Math.round(Number(text) * 1_000);
}

function secondsIn([, ...fields]: readonly string[]): number {
  const [userMinutes = 0, userSeconds = 0, systemMinutes = 0, systemSeconds = 0] = fields.map(Number);
  return (userMinutes + systemMinutes) * 60 + userSeconds + systemSeconds;
}
