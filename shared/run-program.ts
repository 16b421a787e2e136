import { type ChildProcess, spawn } from 'node:child_process';
import type { Cancel, Clock } from './clock.js';

export type ProgramResult =
  | { readonly kind: 'ended'; readonly exitCode: number | null; readonly stdout: string; readonly stderr: string }
  | { readonly kind: 'absent' }
  | { readonly kind: 'failed'; readonly reason: string };

export interface ProgramOptions {
  readonly clock: Clock;
  readonly timeLimitMs: number;
  readonly maxOutputBytes: number;
  /** All variables of its environment; ours when absent. */
  readonly environment?: Readonly<Record<string, string>>;
}

/** Of standard error only the beginning is of use. */
const MAX_ERROR_BYTES = 16_384;
/** How long a killed program may take to be gone before it is left to itself. */
const KILL_MS = 500;

/** Runs a program; at most one that was given up and cannot be killed is left behind. */
export type ProgramRunner = (argv: readonly string[], signal: AbortSignal) => Promise<ProgramResult>;

/**
 * A runner that gives programs no longer than the limit and keeps what they wrote. Its promises never reject.
 *
 * At the limit a program and its descendants are killed and no longer waited for: neither a child that holds the pipes
 * nor a process that a driver holds in the kernel delays the answer. While one of those is still there, none is started.
 */
export function runnerOf(options: ProgramOptions): ProgramRunner {
  let stuck: ChildProcess | undefined;
  return async (argv, signal) => {
    if (stuck !== undefined && !isOver(stuck)) {
      return { kind: 'failed', reason: `${argv[0]} of before (process ${stuck.pid}) hangs and cannot be killed` };
    }
    return run(argv, { ...options, signal }, (child) => {
      stuck = child;
    });
  };
}

function run(
  argv: readonly string[],
  options: ProgramOptions & { readonly signal: AbortSignal },
  abandoned: (child: ChildProcess) => void,
): Promise<ProgramResult> {
  const { clock, timeLimitMs, maxOutputBytes, signal, environment } = options;
  const [file = '', ...args] = argv;
  return new Promise((resolve) => {
    const child = spawn(file, args, {
      detached: true,
      stdio: ['ignore', 'pipe', 'pipe'],
      ...(environment && { env: { ...environment } }),
    });
    const stdout = new Collected(maxOutputBytes);
    const stderr = new Collected(MAX_ERROR_BYTES);
    let failure: string | undefined;
    let cancelTimer: Cancel = () => {};
    const settle = (result: ProgramResult): void => {
      cancelTimer();
      signal.removeEventListener('abort', abort);
      resolve(failure === undefined ? result : { kind: 'failed', reason: failure });
    };
    const giveUp = (reason: string): void => {
      if (failure !== undefined) return;
      failure = reason;
      cancelTimer();
      const result: ProgramResult = { kind: 'failed', reason };
      child.once('exit', () => settle(result));
      cancelTimer = clock.after(KILL_MS, () => {
        child.unref();
        abandoned(child);
        settle(result);
      });
      kill(child);
    };
    const abort = (): void => giveUp('it is no longer wanted');
    signal.addEventListener('abort', abort);
    cancelTimer = clock.after(timeLimitMs, () => giveUp(`${file} did not answer within ${timeLimitMs} ms`));
    child.stdout?.on('data', (bytes: Buffer) => {
      if (!stdout.add(bytes)) giveUp(`${file} wrote more than ${maxOutputBytes} bytes`);
    });
    child.stderr?.on('data', (bytes: Buffer) => void stderr.add(bytes));
    child.on('error', (error: NodeJS.ErrnoException) => {
      if (error.code === 'ENOENT') settle({ kind: 'absent' });
      else settle({ kind: 'failed', reason: `${file} cannot be run: ${error.message}` });
    });
    child.on('close', (exitCode) => settle({ kind: 'ended', exitCode, stdout: stdout.text, stderr: stderr.text }));
  });
}

function isOver(child: ChildProcess): boolean {
  return child.pid === undefined || child.exitCode !== null || child.signalCode !== null;
}

function kill(child: ChildProcess): void {
  child.stdout?.destroy();
  child.stderr?.destroy();
  if (child.pid === undefined || isOver(child)) return;
  try {
    process.kill(-child.pid, 'SIGKILL');
  } catch {
    // It ended this very moment.
  }
}

/** Bytes up to a limit. */
class Collected {
  readonly #limit: number;
  readonly #parts: Buffer[] = [];
  #byteCount = 0;

  constructor(limit: number) {
    this.#limit = limit;
  }

  get text(): string {
    return Buffer.concat(this.#parts).toString('utf8');
  }

  /** False, and nothing kept, when it is too much. */
  add(bytes: Buffer): boolean {
    if (this.#byteCount + bytes.length > this.#limit) return false;
    this.#byteCount += bytes.length;
    this.#parts.push(bytes);
    return true;
  }
}
