import type { EpochMs } from '../../shared/clock.js';
import type { AllocationId, InstanceId, JobId, NodeId, TaskId, TaskRef } from '../../shared/ids.js';
import type { TaskOutcome } from '../../shared/outcome.js';
import { rangesHave } from '../../shared/ranges.js';
import type { Allocation } from './allocation.js';
import { ClassTable } from './demand.js';
import { Indexes, type IndexView } from './indexes.js';
import type { Instance } from './instance.js';
import type { Job, Step } from './job.js';
import { MEMORY_LIMITS, type MemoryLimits } from './memory-limits.js';
import type { Node } from './node.js';
import type { Departure } from './past.js';
import type { Pool } from './pool.js';
import type { Task, TaskPhase } from './task.js';

/** How long an Idempotency-Key stands for its job (P2). */
export const KEY_LIFETIME_MS = 24 * 60 * 60 * 1000;

/** The job that a submission key stands for. */
export interface KeyRecord {
  readonly jobId: JobId;
  readonly digest: string;
  readonly at: EpochMs;
}

/** What is done and still in memory, the first to finish first: in this order it leaves. */
export interface FinishedView {
  readonly tasks: ReadonlySet<TaskId>;
  readonly jobs: ReadonlySet<JobId>;
}

/** The whole state, read-only: what rules, the planner and the service see. */
export interface ClusterView {
  /** The newest event folded in. */
  readonly lastSeq: number;
  readonly nextJobSequence: number;
  readonly nextInstanceSequence: number;
  /** In submission order; without finished ones that have left. */
  readonly jobs: ReadonlyMap<JobId, Job>;
  /** Every attempt of every task in memory, ended or not. */
  readonly allocations: ReadonlyMap<AllocationId, Allocation>;
  readonly nodes: ReadonlyMap<NodeId, Node>;
  /** By name, in the order of their definition. */
  readonly pools: ReadonlyMap<string, Pool>;
  /** Machines that exist, or may exist. */
  readonly instances: ReadonlyMap<InstanceId, Instance>;
  readonly keys: ReadonlyMap<string, KeyRecord>;
  readonly finished: FinishedView;
  /** What steps demand at each of their targets. */
  readonly classes: Pick<ClassTable, 'demandOf'>;
  readonly index: IndexView;
}

/** The same, as `apply` owns it. Records inside are immutable; only their containers are written to. */
export interface ClusterState extends ClusterView {
  lastSeq: number;
  nextJobSequence: number;
  nextInstanceSequence: number;
  readonly jobs: Map<JobId, Job>;
  readonly allocations: Map<AllocationId, Allocation>;
  readonly nodes: Map<NodeId, Node>;
  readonly pools: Map<string, Pool>;
  readonly instances: Map<InstanceId, Instance>;
  readonly keys: Map<string, KeyRecord>;
  readonly finished: { readonly tasks: Set<TaskId>; readonly jobs: Set<JobId> };
  readonly classes: ClassTable;
  readonly index: Indexes;
  /** How much of what is done stays in memory. */
  readonly memory: MemoryLimits;
  /** What has left memory since they were last taken away, to be archived with the events that made them leave. */
  departures: Departure[];
}

export function emptyState(memory: MemoryLimits = MEMORY_LIMITS): ClusterState {
  return {
    lastSeq: 0,
    nextJobSequence: 1,
    nextInstanceSequence: 1,
    jobs: new Map(),
    allocations: new Map(),
    nodes: new Map(),
    pools: new Map(),
    instances: new Map(),
    keys: new Map(),
    finished: { tasks: new Set(), jobs: new Set() },
    classes: new ClassTable(),
    index: new Indexes(),
    memory,
    departures: [],
  };
}

export function stepOf(view: ClusterView, ref: Pick<TaskRef, 'jobId' | 'step'>): Step | undefined {
  return view.jobs.get(ref.jobId)?.steps.get(ref.step);
}

export function taskOf(view: ClusterView, ref: TaskRef): Task | undefined {
  return stepOf(view, ref)?.tasks.get(ref.index);
}

/**
 * Where a task stands, also one that was never placed and exists only as an index in its step's ranges.
 *
 * @returns undefined when the step has no such index, and when the task's record has left memory (`leftOutcome`)
 */
export function taskPhase(step: Step, index: number): TaskPhase | undefined {
  const task = step.tasks.get(index);
  if (task) return task.phase;
  if (!rangesHave(step.untouched, index)) return undefined;
  if (step.swept) return { kind: 'done', at: step.swept.at, attempt: 0, outcome: step.swept.outcome };
  if (!step.isReleased) return { kind: 'blocked' };
  return { kind: 'queued', since: step.queuedAt, attempt: 1, notBefore: step.queuedAt };
}

/** How a task ended whose record has left memory; undefined for every other index. */
export function leftOutcome({ left }: Step, index: number): TaskOutcome['kind'] | undefined {
  if (!left) return undefined;
  return OUTCOMES.find((kind) => rangesHave(left[kind], index));
}

const OUTCOMES = ['succeeded', 'failed', 'canceled', 'dropped'] as const;
