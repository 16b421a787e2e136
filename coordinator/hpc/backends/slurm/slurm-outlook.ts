import type { QueueEstimate, QueueOutlook, UnsubmittedJob } from '../../backend.js';
import { quoteArgv } from '../../quote.js';
import { mustRun, type RemoteShell } from '../../shell/remote-shell.js';
import { sbatchOptions } from './sbatch-options.js';
import { explainSlurm, slurmErrorKind } from './slurm-errors.js';

/** Says the time as epoch seconds, whatever zone the site is in. */
export const IN_SECONDS = 'SLURM_TIME_FORMAT=%s';

const END_OF_SCRIPT = 'BERTH_END_OF_SCRIPT';
const END_OF_ANSWER = 'berth-end-of-answer';

/** `sbatch --test-only`: the scheduler goes through its queue and says when a job would start. Source: sbatch(1). */
export function slurmOutlook(shell: RemoteShell): QueueOutlook {
  return {
    by: 'Slurm',
    estimate: async (jobs, signal) => {
      const script = `date +%s\n${jobs.map(question).join('')}`;
      return readAnswers(await mustRun(shell, script, { signal, explain: explainSlurm }));
    },
  };
}

function question({ script, options }: UnsubmittedJob): string {
  const sbatch = quoteArgv(['sbatch', '--test-only', ...sbatchOptions(options)]);
  // Its directives are all that is read of a script.
  const head = script.split('\n').filter((line) => line.startsWith('#'));
  return `${IN_SECONDS} ${sbatch} 2>&1 <<'${END_OF_SCRIPT}'\n${[...head, ':', END_OF_SCRIPT].join('\n')}\necho ${END_OF_ANSWER}\n`;
}

/** By the site's own clock, which need not be ours. Throws for a controller that does not answer. */
function readAnswers(text: string): QueueEstimate[] {
  const [now = '', ...rest] = text.split('\n');
  const answers = rest.join('\n').split(`${END_OF_ANSWER}\n`).slice(0, -1);
  return answers.map((answer) => {
    const at = /to start at (\d+)/.exec(answer)?.[1];
    if (at !== undefined) return { kind: 'starts', waitMs: Math.max(0, Number(at) - Number(now)) * 1_000 };
    const message = answer.trim().replace(/^(sbatch: )?(error: )?/, '');
    if (slurmErrorKind(message) === 'refused') return { kind: 'refused', message };
    throw explainSlurm({ exitCode: 1, stdout: '', stderr: message });
  });
}
