import { type Refusal, refuse } from '../../../shared/errors.js';
import type { JobId } from '../../../shared/ids.js';
import { isTarget } from '../../model/mirror.js';
import type { ClusterView } from '../../model/state.js';
import type { TargetsFile } from '../read-targets.js';

/** Jobs that are named; more are counted. */
const NAMED_JOBS = 10;

/**
 * Why a coordinator must not begin with these targets: jobs are at one that the file has no more, so that nobody would
 * look after them, and a cancellation would not get there. Undefined when there is none.
 */
export function refuseMissing(view: ClusterView, { targets, gone }: TargetsFile): Refusal | undefined {
  const known = new Set([...targets.map(({ target }) => target.name), ...gone].map((name) => `hpc/${name}`));
  const left = new Map<string, Set<JobId>>();
  for (const { id } of view.nodes.values()) {
    if (!isTarget(id) || known.has(id)) continue;
    for (const allocationId of view.index.usage(id).live) {
      const allocation = view.allocations.get(allocationId);
      if (allocation?.mirror) left.set(id, (left.get(id) ?? new Set()).add(allocation.ref.jobId));
    }
  }
  const [first] = left;
  if (!first) return undefined;
  const [name] = first;
  const parts = [...left].map(([target, jobs]) => `${target}, where these jobs still are: ${named([...jobs])}`);
  const hint = `put it back, and take it out when its jobs are over (berth cordon ${name} keeps new ones away); if the site is gone for good, write "gone: [${name.slice('hpc/'.length)}]" beside "targets", and they are lost`;
  return refuse('invalid-request', `--targets lacks ${parts.join('; ')}`, { hint });
}

function named(jobs: readonly JobId[]): string {
  const more = jobs.length - NAMED_JOBS;
  return `${jobs.slice(0, NAMED_JOBS).join(', ')}${more > 0 ? ` and ${more} more` : ''}`;
}
