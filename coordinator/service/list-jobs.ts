import { isRefusal, type Refusal } from '../../shared/errors.js';
import { jobIdOf } from '../../shared/ids.js';
import type { Job, JobPhaseKind } from '../model/job.js';
import type { ClusterView } from '../model/state.js';
import { formatCursor, parseCursor } from './cursor.js';
import { type JobView, presentJob } from './present-job.js';
import type { Service } from './service.js';
import { Explanations } from './waiting.js';

export interface JobQuery {
  readonly limit: number;
  readonly cursor?: string | undefined;
  readonly state?: JobPhaseKind | 'unfinished' | undefined;
  readonly name?: string | undefined;
  readonly namespace?: string | undefined;
  /** All must hold. */
  readonly labels?: readonly (readonly [key: string, value: string])[] | undefined;
}

export interface JobPage {
  readonly jobs: JobView[];
  /** Null after the last page. A page may be short and still not be the last: see MAX_LOOKED_AT. */
  readonly nextCursor: string | null;
}

/** Jobs that one request looks at, so that a rare match among very many holds up nobody else. */
const MAX_LOOKED_AT = 50_000;

/** Jobs that match, the newest first. Refuses a cursor that is none. */
export async function listJobs(service: Service, query: JobQuery): Promise<JobPage | Refusal> {
  const keys = query.cursor === undefined ? undefined : parseCursor(query.cursor, 1);
  if (isRefusal(keys)) return keys;
  return service.engine.read((view) =>
    pageOf(view, query, { below: keys?.[0], explanations: new Explanations(view, service) }),
  );
}

interface Place {
  /** Only jobs submitted before this sequence number. */
  readonly below: number | undefined;
  readonly explanations: Explanations;
}

function pageOf(view: ClusterView, query: JobQuery, { below, explanations }: Place): JobPage {
  const jobs: JobView[] = [];
  const start = Math.min(below ?? view.nextJobSequence, view.nextJobSequence);
  const end = Math.max(0, start - 1 - MAX_LOOKED_AT);
  let sequence = start - 1;
  for (; sequence > end && jobs.length < query.limit; sequence -= 1) {
    const job = view.jobs.get(jobIdOf(sequence));
    if (job && matches(job, query)) jobs.push(presentJob(job, explanations));
  }
  return { jobs, nextCursor: sequence > 0 ? formatCursor([sequence + 1]) : null };
}

function matches({ spec, phase }: Job, { state, name, namespace, labels }: JobQuery): boolean {
  if (state === 'unfinished' ? phase.kind === 'finished' : state !== undefined && phase.kind !== state) return false;
  if (name !== undefined && spec.name !== name) return false;
  if (namespace !== undefined && spec.namespace !== namespace) return false;
  return (labels ?? []).every(([key, value]) => Object.hasOwn(spec.labels, key) && spec.labels[key] === value);
}
