import { present } from '../../shared/assert.js';
import type { EpochMs } from '../../shared/clock.js';
import { parseJobId } from '../../shared/ids.js';
import { type Departure, formatPastJob, formatPastTask } from '../model/past.js';

/** A record as a store keeps it: `body` is JSON text that only the model reads; the rest is what is searched by. */
export type PastRow = ({ readonly kind: 'job' } & PastJobRow) | ({ readonly kind: 'task' } & PastTaskRow);

export interface PastJobRow {
  readonly sequence: number;
  readonly name: string;
  readonly namespace: string;
  readonly submittedBy: string;
  readonly labels: string;
  readonly endedAt: EpochMs;
  readonly body: string;
}

export interface PastTaskRow {
  /** Of its job. */
  readonly sequence: number;
  readonly step: string;
  readonly index: number;
  readonly body: string;
}

export function toPastRow(departure: Departure): PastRow {
  if (departure.kind === 'task') {
    const { jobId, step, task } = departure.task;
    const sequence = present(parseJobId(jobId), 'job id');
    return { kind: 'task', sequence, step, index: task.index, body: formatPastTask(departure.task) };
  }
  const { sequence, spec, submittedBy, phase } = departure.job;
  return {
    kind: 'job',
    ...{ sequence, submittedBy },
    name: spec.name,
    namespace: spec.namespace,
    labels: `\n${Object.entries(spec.labels).map(labelLine).join('')}`,
    endedAt: phase.at,
    body: formatPastJob(departure.job),
  };
}

/** What `labels` of a row contains when the job has the label; JSON has no line break of its own. */
export function labelLine(label: readonly [key: string, value: string]): string {
  return `${JSON.stringify(label)}\n`;
}

/** A label's line as it is looked for: nothing but a whole line matches. */
export function labelPattern(label: readonly [key: string, value: string]): string {
  return `\n${labelLine(label)}`;
}
