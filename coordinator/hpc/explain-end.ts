import { SIGNAL_EXIT_BASE } from '../../shared/outcome.js';
import type { RemoteFiles } from './backend.js';
import type { Marks } from './marks.js';
import type { RemoteOutcome } from './remote-job.js';
import { systemLog } from './submission.js';

type Failed = Extract<RemoteOutcome, { readonly kind: 'failed' }>;

/**
 * Whether an outcome leaves out what the work directory may tell.
 *
 * - slurmrestd 22.05 tells of accounting's failures without their exit codes; the marks have them.
 * - Where Slurm looks after memory by itself (OverMemoryKill), without control groups, a job that it ended for that has
 *   failed by signal 9 like any other, and the reason stands in the job's system log alone. When the job's shell outlived
 *   its command, which then ended with status 137, Slurm has 9 for an exit code.
 */
export function saysLittle(outcome: RemoteOutcome | null): outcome is Failed {
  if (outcome?.kind !== 'failed') return false;
  const { exitCode, signal } = outcome;
  return exitCode === null
    ? signal === null || signal === KILL
    : exitCode === KILL || exitCode === SIGNAL_EXIT_BASE + KILL;
}

const KILL = 9;
const MAX_LOG_BYTES = 64 * 1024;

/** As slurmstepd writes it, with its own watch over memory and with control groups. */
const MEMORY_WORDS = /exceeded (job |step )?memory limit|oom[-_ ]kill/i;

export interface LittleSaid {
  readonly outcome: Failed;
  /** Of a task of an array; null otherwise. */
  readonly index: number | null;
  readonly marks: Marks;
  readonly work: string;
}

export async function explainEnd(
  { outcome, index, marks, work }: LittleSaid,
  files: RemoteFiles,
  signal: AbortSignal,
): Promise<RemoteOutcome> {
  const log = await files.read(`${work}/${systemLog(index)}`, { offset: 0, maxBytes: MAX_LOG_BYTES }, signal);
  if (log && MEMORY_WORDS.test(Buffer.from(log).toString())) return { kind: 'out-of-memory' };
  const exitCode = marks.tasks.get(index ?? 0)?.exitCode ?? 0;
  return exitCode > 0 ? { kind: 'failed', exitCode, signal: null } : outcome;
}
