import type { EpochMs } from '../../shared/clock.js';
import {
  type AllocationId,
  type AllocationRef,
  allocationIdOf,
  type JobId,
  type NodeId,
  type TaskRef,
} from '../../shared/ids.js';
import type { AllocationEnd, StopReason } from '../../shared/outcome.js';
import { type Resources, WHOLE_GPU_MILLIS } from '../../shared/resources.js';
import type { Usage } from '../../shared/usage.js';
import type { StagingRecord } from '../../shared/wire/messages.js';
import type { Mirrored } from './mirror.js';

/** One attempt of one task on one node with concrete devices. Its id is its own fence. */
export interface Allocation {
  readonly id: AllocationId;
  readonly ref: AllocationRef;
  readonly nodeId: NodeId;
  readonly resources: Resources;
  /** It has the node to itself, also what the node did not have yet when it was placed; absent otherwise. */
  readonly exclusive?: true;
  /** Indexes of the node's GPUs that the attempt holds: alone, or a part of each. */
  readonly gpus: readonly number[];
  /** Thousandths held of each, in the order of `gpus`; absent when they are whole. */
  readonly gpuMillis?: readonly number[];
  /** Thousandths of GPUs that its devices count for in quotas and shares; absent unless MIG slices are among them. */
  readonly countedMillis?: number;
  /** How much of the node it holds, from 0 to 1: what it pays for. Absent on nodes of no pool. */
  readonly nodeShare?: number;
  readonly committedAt: EpochMs;
  readonly startedAt?: EpochMs;
  /** The remote job that it is, or is a task of; absent unless its node is a remote batch system. */
  readonly mirror?: Mirrored;
  readonly phase: AllocationPhase;
}

export type AllocationPhase =
  | { readonly kind: 'committed' }
  | { readonly kind: 'preparing'; readonly since: EpochMs }
  | { readonly kind: 'running'; readonly since: EpochMs }
  /** `for`: the job that it makes room for, when it is preempted. */
  | { readonly kind: 'stopping'; readonly since: EpochMs; readonly reason: StopReason; readonly for?: JobId }
  | {
      readonly kind: 'ended';
      readonly at: EpochMs;
      readonly end: AllocationEnd;
      readonly output: OutputSize;
      readonly usage?: Usage;
      /** What exactly the image was. */
      readonly image?: string;
      readonly staging?: StagingRecord;
    };

/** Bytes that the attempt wrote; unknown when the node is lost. */
export type OutputSize = { readonly stdoutBytes: number; readonly stderrBytes: number } | null;

export type AllocationPhaseKind = AllocationPhase['kind'];

/** The planner commits; the agent accepts, starts, ends; users and timers ask to stop. After `ended`, never. */
export const ALLOCATION_TRANSITIONS: Readonly<Record<AllocationPhaseKind, readonly AllocationPhaseKind[]>> = {
  committed: ['preparing', 'running', 'stopping', 'ended'],
  preparing: ['running', 'stopping', 'ended'],
  running: ['stopping', 'ended'],
  stopping: ['ended'],
  ended: [],
};

/** The attempts of a task, the first one first. */
export function allocationsOf(
  allocations: ReadonlyMap<AllocationId, Allocation>,
  ref: TaskRef,
  attemptCount: number,
): Allocation[] {
  const found: Allocation[] = [];
  for (let attempt = 1; attempt <= attemptCount; attempt += 1) {
    const allocation = allocations.get(allocationIdOf({ ...ref, attempt }));
    if (allocation) found.push(allocation);
  }
  return found;
}

/** Thousandths that the attempt holds of the device at a position of its `gpus`. */
export function heldGpuMillis(allocation: Allocation, position: number): number {
  return allocation.gpuMillis?.[position] ?? WHOLE_GPU_MILLIS;
}
