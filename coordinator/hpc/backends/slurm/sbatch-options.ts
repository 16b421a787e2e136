import { type SubmitOptions, systemLog } from '../../submission.js';
import { formatTimeLimit } from './slurm-words.js';

/** What sbatch must be told, on its command line or as directives. */
export function sbatchOptions(options: SubmitOptions): string[] {
  const { gpus, licences, maxParallel } = options;
  const given = (name: string, value: string | number | undefined): string[] =>
    value === undefined ? [] : [`--${name}=${value}`];
  return [
    ...given('account', options.account),
    ...given('partition', options.partition),
    ...given('cpus-per-task', options.cpus),
    ...given('mem', options.memoryMiB === undefined ? undefined : `${options.memoryMiB}M`),
    ...given('tmp', options.diskMiB === undefined ? undefined : `${options.diskMiB}M`),
    ...given('gres', gpus && `gpu:${gpus.model === null ? '' : `${gpus.model}:`}${gpus.count}`),
    ...given(
      'licenses',
      licences &&
        Object.entries(licences)
          .map((entry) => entry.join(':'))
          .join(','),
    ),
    ...given('time', options.timeLimitMs === undefined ? undefined : formatTimeLimit(options.timeLimitMs)),
    ...given('array', options.array && `${options.array}${maxParallel === undefined ? '' : `%${maxParallel}`}`),
    ...(options.isExclusive ? ['--exclusive'] : []),
    ...(options.mayRequeue === undefined ? [] : [options.mayRequeue === 'yes' ? '--requeue' : '--no-requeue']),
  ];
}

/** Each task of an array has a file of its own, so that it is known whom a word is about. */
export function slurmLog({ array }: Pick<SubmitOptions, 'array'>): string {
  return systemLog(array === undefined ? null : '%a');
}
