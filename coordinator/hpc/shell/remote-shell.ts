import { type FilePart, HpcError, type WriteOptions } from '../backend.js';
import { HPC_LIMITS } from '../remote-job.js';

/**
 * "Run this over there, and get at files over there": all that a backend made of command-line tools needs, so that it is
 * the same on this machine and over SSH. Throws `HpcError` alone.
 */
export interface RemoteShell {
  /** Runs a POSIX shell script, read from standard input: nothing of it is among a process's arguments. */
  run(script: string, signal: AbortSignal): Promise<ShellResult>;
  /** As the methods of RemoteFiles. */
  read(path: string, part: FilePart, signal: AbortSignal): Promise<Uint8Array | null>;
  write(path: string, bytes: Uint8Array, options: WriteOptions, signal: AbortSignal): Promise<void>;
  move(from: string, to: string, signal: AbortSignal): Promise<void>;
  remove(path: string, signal: AbortSignal): Promise<void>;
  close(): Promise<void>;
}

export interface ShellResult {
  readonly exitCode: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs to the end or to the call's time limit, whichever comes first. */
export function limited(signal: AbortSignal, limitMs: number = HPC_LIMITS.callMs): AbortSignal {
  return AbortSignal.any([signal, AbortSignal.timeout(limitMs)]);
}

/** What is wanted, or `unavailable` once the signal says so; what is under way goes on. */
export function orAborted<Value>(wanted: Promise<Value>, signal: AbortSignal): Promise<Value> {
  return new Promise((resolve, reject) => {
    const onAbort = (): void => reject(new HpcError('unavailable', 'it took too long, or is no longer wanted'));
    signal.addEventListener('abort', onAbort, { once: true });
    wanted.then(resolve, reject).finally(() => signal.removeEventListener('abort', onAbort));
    if (signal.aborted) onAbort();
  });
}

/** Exit status of a shell that finds no such program. */
const NOT_FOUND = 127;

/** The output of a script that must succeed. `explain` says what a failure means. */
export async function mustRun(
  shell: RemoteShell,
  script: string,
  { signal, explain }: { readonly signal: AbortSignal; readonly explain: (result: ShellResult) => HpcError },
): Promise<string> {
  const result = await shell.run(script, signal);
  if (result.exitCode === 0) return result.stdout;
  if (result.exitCode === NOT_FOUND) {
    throw new HpcError('configuration', `${firstLine(result)}; is the batch system installed there, and on the PATH?`);
  }
  throw explain(result);
}

/** What a program complained about, on one line. */
export function firstLine({ exitCode, stderr, stdout }: ShellResult): string {
  const lines = `${stderr}\n${stdout}`.split('\n').flatMap((line) => (line.trim() === '' ? [] : [line.trim()]));
  return lines.slice(0, 3).join(' / ').slice(0, 500) || `it ended with status ${exitCode}`;
}
