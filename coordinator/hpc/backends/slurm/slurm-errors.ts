import { HpcError } from '../../backend.js';
import type { HpcErrorKind } from '../../remote-job.js';
import { firstLine, type ShellResult } from '../../shell/remote-shell.js';
import { LOCK_BUSY } from '../../shell/submit-once.js';

/** What Slurm's messages mean, by the first that fits. Its tools tell failures apart by nothing else. */
const MEANINGS: readonly (readonly [RegExp, HpcErrorKind])[] = [
  [
    /unable to contact slurm controller|connection (refused|timed out|reset)|socket timed out|zero bytes were transmitted/i,
    'unavailable',
  ],
  [
    /temporarily unable|try again later|resource temporarily|in backup mode|backup controller|too many|slurmctld is shutting/i,
    'unavailable',
  ],
  [/communication (connection|shutdown)|transport endpoint|no route to host|insane message/i, 'unavailable'],
  [/munge|authentication|credential|access\/permission denied|token/i, 'credentials'],
  [/invalid job id/i, 'unknown-job'],
  [/could not establish a configuration source|plugin|command not found/i, 'configuration'],
  [
    /invalid|not permitted|not available|can not be satisfied|exceeds|violates|unrecognized|denied|limit|must/i,
    'refused',
  ],
];

export function slurmErrorKind(message: string): HpcErrorKind {
  return MEANINGS.find(([pattern]) => pattern.test(message))?.[1] ?? 'unavailable';
}

export function explainSlurm(result: ShellResult): HpcError {
  if (result.exitCode === LOCK_BUSY) return new HpcError('unavailable', 'another submission of this job is under way');
  const text = firstLine(result);
  return new HpcError(slurmErrorKind(text), text);
}
