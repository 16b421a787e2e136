import { sha256OfUrl } from '../../shared/artifact.js';
import { type Problem, type Refusal, refuse } from '../../shared/errors.js';
import type { JobSpec } from '../../shared/job-spec/spec.js';
import type { Collected } from '../artifacts/artifact-store.js';
import type { Allocation } from '../model/allocation.js';
import type { Job, Step } from '../model/job.js';
import type { ClusterView } from '../model/state.js';
import type { Service } from './service.js';
import { indexesFrom } from './task-indexes.js';

/** Artifacts that known jobs take as inputs or have left. Cost: O(jobs + allocations). */
export function artifactsInUse(view: ClusterView): ReadonlySet<string> {
  const inUse = new Set<string>();
  for (const { spec } of view.jobs.values()) for (const { sha256 } of artifactInputs(spec)) inUse.add(sha256);
  addOutputs(view.allocations.values(), inUse);
  return inUse;
}

/** Refuses a job whose inputs are not there; those that are stay at least for their time of grace. */
export async function refuseMissingArtifacts(service: Service, spec: JobSpec): Promise<Refusal | undefined> {
  const problems: Problem[] = [];
  for (const { field, sha256 } of artifactInputs(spec)) {
    if (await service.artifacts.find(sha256)) continue;
    problems.push({ field, message: `there is no artifact ${sha256}; put the file again` });
  }
  const [first] = problems;
  return first && refuse('invalid-spec', `${first.field}: ${first.message}`, { problems });
}

function artifactInputs(spec: JobSpec): { readonly field: string; readonly sha256: string }[] {
  return spec.steps.flatMap(({ inputs }, step) =>
    (inputs ?? []).flatMap(({ source }, input) => {
      const sha256 = source.kind === 'url' ? sha256OfUrl(source.url) : undefined;
      return sha256 === undefined ? [] : [{ field: `steps[${step}].inputs[${input}].from`, sha256 }];
    }),
  );
}

/** Jobs of the archive that are looked at together. */
const PAGE = 100;

/** Deletes what no known job refers to, in memory or in the archive. */
export async function collectArtifacts(service: Service): Promise<Collected> {
  // Memory first: what leaves it meanwhile has been seen.
  const { inUse, below } = await service.engine.read((view) => ({
    inUse: new Set(artifactsInUse(view)),
    below: view.nextJobSequence,
  }));
  for await (const job of pastJobs(service, below)) {
    for (const { sha256 } of artifactInputs(job.spec)) inUse.add(sha256);
    for (const step of job.steps.values()) {
      if (step.spec.outputs !== undefined) await addPastOutputs(service, { job, step }, inUse);
    }
  }
  return service.artifacts.collect((sha256) => inUse.has(sha256));
}

async function addPastOutputs(
  { engine }: Service,
  { job, step }: { readonly job: Job; readonly step: Step },
  inUse: Set<string>,
): Promise<void> {
  const indexes = [...indexesFrom(step, 0, [step.untouched])];
  for (let from = 0; from < indexes.length; from += PAGE) {
    const past = await engine.archive.pastTasks(job.id, step.name, indexes.slice(from, from + PAGE));
    for (const { allocations } of past) addOutputs(allocations, inUse);
  }
}

function addOutputs(allocations: Iterable<Allocation>, inUse: Set<string>): void {
  for (const { phase } of allocations) {
    if (phase.kind !== 'ended') continue;
    for (const { sha256 } of phase.staging?.outputs ?? []) inUse.add(sha256);
  }
}

async function* pastJobs({ engine }: Service, newest: number): AsyncGenerator<Job> {
  for (let below = newest; ; ) {
    const { jobs } = await engine.archive.pastJobs({ below, from: 0, limit: PAGE });
    yield* jobs;
    const last = jobs.at(-1);
    if (last === undefined) return;
    below = last.sequence;
  }
}
