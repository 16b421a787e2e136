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

/** Sequence numbers that one request looks at, so that a rare match among very many holds up nobody else. */
const MAX_LOOKED_AT = 50_000;

const FIRST_SEQUENCE = 1;

/** Jobs that match, the newest first, whether in memory or in the archive. Refuses a cursor that is none. */
export async function listJobs(service: Service, query: JobQuery): Promise<JobPage | Refusal> {
  const keys = query.cursor === undefined ? undefined : parseCursor(query.cursor, 1);
  if (isRefusal(keys)) return keys;
  const seen = await service.engine.read((view) => {
    const explanations = new Explanations(view, service);
    return { ...look(view, query, { below: keys?.[0], explanations }), explanations };
  });
  const mayHaveLeft = query.state === undefined || query.state === 'finished';
  if (!mayHaveLeft) return pageOf(seen.found, query.limit, { ...seen, oldest: seen.oldestInMemory });
  if (!seen.isIncomplete) return pageOf(seen.found, query.limit, { ...seen, oldest: FIRST_SEQUENCE });
  const { limit, name, namespace, labels } = query;
  const range = { below: seen.below, from: seen.from };
  const past = await service.engine.archive.pastJobs({ ...range, limit, name, namespace, labels });
  const known = new Set(seen.found.map(({ sequence }) => sequence));
  // One that has left since memory was looked at is in both.
  const others = past.jobs.filter(({ sequence }) => !known.has(sequence));
  const archived = others.map((job) => ({ sequence: job.sequence, job: presentJob(job, seen.explanations) }));
  const found = [...seen.found, ...archived].sort((left, right) => right.sequence - left.sequence);
  const oldest = Math.min(seen.oldestInMemory, past.oldestSequence ?? Number.POSITIVE_INFINITY);
  return pageOf(found, limit, { ...seen, oldest });
}

interface Found {
  readonly sequence: number;
  readonly job: JobView;
}

interface Place {
  /** Only jobs submitted before this sequence number. */
  readonly below: number | undefined;
  readonly explanations: Explanations;
}

interface Looked {
  readonly found: readonly Found[];
  /** Looked at were the sequence numbers from `from` on, below `below`. */
  readonly from: number;
  readonly below: number;
  /** Some of them are not in memory. */
  readonly isIncomplete: boolean;
  readonly oldestInMemory: number;
}

function look(view: ClusterView, query: JobQuery, place: Place): Looked {
  const found: Found[] = [];
  const below = Math.min(place.below ?? view.nextJobSequence, view.nextJobSequence);
  const end = Math.max(FIRST_SEQUENCE, below - MAX_LOOKED_AT);
  let from = below;
  let isIncomplete = false;
  while (from > end && found.length < query.limit) {
    from -= 1;
    const job = view.jobs.get(jobIdOf(from));
    if (!job) isIncomplete = true;
    else if (matches(job, query)) found.push({ sequence: from, job: presentJob(job, place.explanations) });
  }
  const [oldest] = view.jobs.values();
  return { found, from, below, isIncomplete, oldestInMemory: oldest?.sequence ?? Number.POSITIVE_INFINITY };
}

function pageOf(
  found: readonly Found[],
  limit: number,
  { from, oldest }: { readonly from: number; readonly oldest: number },
): JobPage {
  const shown = found.slice(0, limit);
  const last = shown.length === limit ? shown.at(-1)?.sequence : undefined;
  const next = last ?? from;
  return { jobs: shown.map(({ job }) => job), nextCursor: next > oldest ? formatCursor([next]) : null };
}

function matches({ spec, phase }: Job, { state, name, namespace, labels }: JobQuery): boolean {
  if (state === 'unfinished' ? phase.kind === 'finished' : state !== undefined && phase.kind !== state) return false;
  if (name !== undefined && spec.name !== name) return false;
  if (namespace !== undefined && spec.namespace !== namespace) return false;
  return (labels ?? []).every(([key, value]) => Object.hasOwn(spec.labels, key) && spec.labels[key] === value);
}
