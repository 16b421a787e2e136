import type { EpochMs } from '../../shared/clock.js';
import { AppError } from '../../shared/errors.js';
import { type AllocationId, type JobId, type NodeId, type TaskId, taskIdOf } from '../../shared/ids.js';
import { replayHoldings } from './accounts.js';
import type { Allocation } from './allocation.js';
import { find } from './apply-job.js';
import type { StoredSums } from './indexes.js';
import { type Job, unfinishedCount } from './job.js';
import { MEMORY_LIMITS, type MemoryLimits } from './memory-limits.js';
import type { Node } from './node.js';
import { type ClusterState, type ClusterView, emptyState, type KeyRecord } from './state.js';
import { restoreElastic, type StoredElastic, storedElastic } from './stored-elastic.js';
import { restoreSteps, type StoredJob, storedJob } from './stored-job.js';

/** Version of the snapshot's own shape; events have theirs. Version 1 had no `sums`. */
const SNAPSHOT_VERSION = 2;

interface StoredSnapshot {
  readonly version: number;
  readonly seq: number;
  readonly nextJobSequence: number;
  readonly jobs: readonly StoredJob[];
  readonly allocations: readonly Allocation[];
  readonly nodes: readonly Omit<Node, 'nodeClass'>[];
  /** Absent where there never was a pool. */
  readonly elastic?: StoredElastic;
  readonly keys: readonly (readonly [string, KeyRecord])[];
  /** Absent in version 1, whose records say it all. */
  readonly sums?: StoredSums;
  /** Absent in version 1: told by the times of the records. */
  readonly finished?: { readonly tasks: readonly TaskId[]; readonly jobs: readonly JobId[] };
}

/** The records as JSON text; indexes and classes are derived again by `restore`. Cost: O(state). */
export function serialize(view: ClusterView): string {
  const stored: StoredSnapshot = {
    version: SNAPSHOT_VERSION,
    seq: view.lastSeq,
    nextJobSequence: view.nextJobSequence,
    jobs: [...view.jobs.values()].map(storedJob),
    allocations: [...view.allocations.values()],
    nodes: [...view.nodes.values()].map(({ nodeClass: _, ...node }) => node),
    ...storedElastic(view),
    keys: [...view.keys],
    sums: view.index.sums(),
    finished: { tasks: [...view.finished.tasks], jobs: [...view.finished.jobs] },
  };
  return JSON.stringify(stored);
}

/**
 * The state that a snapshot holds, with its indexes rebuilt.
 *
 * Throws `store-corrupt` when it was written by a later version of Berth.
 */
export function restore(body: string, memory: MemoryLimits = MEMORY_LIMITS): ClusterState {
  const stored = JSON.parse(body) as StoredSnapshot;
  if (!(stored.version >= 1 && stored.version <= SNAPSHOT_VERSION)) throw tooNew(stored.version);
  const state = emptyState(memory);
  state.lastSeq = stored.seq;
  state.nextJobSequence = stored.nextJobSequence;
  for (const [value, record] of stored.keys) state.keys.set(value, record);
  if (stored.sums) state.index.restoreSums(stored.sums, (key) => state.classes.demandOfKey(key));
  for (const node of stored.nodes) restoreNode(state, node);
  if (stored.elastic) restoreElastic(state, stored.elastic);
  for (const job of stored.jobs) restoreJob(state, job);
  for (const allocation of stored.allocations) restoreAllocation(state, allocation);
  if (stored.sums) resumeHoldings(state);
  else deriveSums(state);
  const { tasks, jobs } = stored.finished ?? deriveFinished(state);
  for (const taskId of tasks) state.finished.tasks.add(taskId);
  for (const jobId of jobs) state.finished.jobs.add(jobId);
  return state;
}

function tooNew(version: number): AppError {
  const message = `the snapshot has version ${version}, this Berth reads up to ${SNAPSHOT_VERSION}`;
  return new AppError('store-corrupt', message, { hint: 'start the version of Berth that wrote it, or a later one' });
}

function resumeHoldings(state: ClusterState): void {
  for (const allocation of state.allocations.values()) {
    if (allocation.phase.kind === 'ended') continue;
    state.index.accounts.stillHeld({ ...find(state, allocation.ref), allocation });
  }
}

/** Version 1 held every job and every allocation that there ever was. */
function deriveSums(state: ClusterState): void {
  for (const job of state.jobs.values()) for (const step of job.steps.values()) state.index.stepSubmitted(step);
  replayHoldings(state.index.accounts, state.allocations.values(), ({ ref }) => find(state, ref));
}

/** What is done, in the order of its times; of one time, in the order of jobs, steps and tasks. */
function deriveFinished(state: ClusterState): NonNullable<StoredSnapshot['finished']> {
  const tasks: { readonly at: EpochMs; readonly id: TaskId }[] = [];
  const jobs: { readonly at: EpochMs; readonly id: JobId }[] = [];
  for (const { id: jobId, phase: jobPhase, steps } of state.jobs.values()) {
    if (jobPhase.kind === 'finished') jobs.push({ at: jobPhase.at, id: jobId });
    for (const { name, tasks: records } of steps.values()) {
      for (const { index, phase } of records.values()) {
        if (phase.kind === 'done') tasks.push({ at: phase.at, id: taskIdOf({ jobId, step: name, index }) });
      }
    }
  }
  tasks.sort((left, right) => left.at - right.at);
  jobs.sort((left, right) => left.at - right.at);
  return { tasks: tasks.map(({ id }) => id), jobs: jobs.map(({ id }) => id) };
}

function restoreNode(state: ClusterState, stored: Omit<Node, 'nodeClass'>): void {
  const nodeId: NodeId = stored.id;
  state.nodes.set(nodeId, { ...stored, nodeClass: state.classes.nodeClassOf(stored.inventory) });
  state.index.accounts.nodeChanged(undefined, stored.inventory);
  if (stored.link.kind === 'suspect') state.index.addDeadline(stored.link.until, { kind: 'lease', nodeId });
  if (stored.intake.kind === 'draining' && stored.intake.deadlineAt !== null) {
    state.index.addDeadline(stored.intake.deadlineAt, { kind: 'drain', nodeId });
  }
}

function restoreJob(state: ClusterState, stored: StoredJob): void {
  const steps = restoreSteps(stored, state.classes);
  const job: Job = { ...stored, steps };
  const jobId: JobId = job.id;
  state.jobs.set(jobId, job);
  if (job.phase.kind !== 'finished') state.index.unfinishedJobCount += 1;
  for (const step of steps.values()) {
    state.index.waitingChanged(job, unfinishedCount(step.counts) - step.counts.placed);
    state.index.queueChanged(job, step);
    for (const { phase } of step.tasks.values()) {
      if (phase.kind === 'queued') state.index.addDeadline(phase.notBefore, { kind: 'retry' });
    }
  }
}

function restoreAllocation(state: ClusterState, allocation: Allocation): void {
  const id: AllocationId = allocation.id;
  state.allocations.set(id, allocation);
  if (allocation.phase.kind !== 'ended') state.index.allocationBegan(allocation);
  if (allocation.phase.kind === 'stopping') state.index.accounts.ending(allocation);
}
