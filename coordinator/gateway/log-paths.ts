import { join } from 'node:path';
import type { AllocationRef, JobId } from '../../shared/ids.js';
import type { LogStream } from '../../shared/wire/messages.js';

/** Where one stream of one attempt is kept. */
export interface LogPaths {
  readonly directory: string;
  /** Grows while output arrives. */
  readonly part: string;
  /** What `part` is renamed to once it is whole: the name says so, across restarts. */
  readonly whole: string;
  /** Holds the number of bytes that were dropped, in decimal; there is none when nothing was. */
  readonly gap: string;
  /** Says where bytes are missing in between; there is none when there are none. */
  readonly missing: string;
  /** Says when the bytes came; there is none while the file's own time says it (log-times.ts). */
  readonly times: string;
}

const EXTENSIONS: Readonly<Record<LogStream, string>> = { stdout: 'out', stderr: 'err' };

/** It holds all output of the job's tasks, and nothing else. */
export function jobFolder(root: string, jobId: JobId): string {
  return join(root, 'logs', jobId);
}

export function logPaths(root: string, ref: AllocationRef, stream: LogStream): LogPaths {
  const directory = jobFolder(root, ref.jobId);
  const whole = join(directory, `${ref.step}.${ref.index}#${ref.attempt}.${EXTENSIONS[stream]}`);
  return {
    directory,
    part: `${whole}.part`,
    whole,
    gap: `${whole}.gap`,
    missing: `${whole}.missing`,
    times: `${whole}.times`,
  };
}
