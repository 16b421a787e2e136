import type { EpochMs } from '../../shared/clock.js';
import type { AllocationId, InstanceId, JobId, NodeId } from '../../shared/ids.js';
import type { JobSpec, PlaceName } from '../../shared/job-spec/spec.js';
import type { AllocationEnd, JobOutcome, StopReason, TaskOutcome } from '../../shared/outcome.js';
import type { PoolSpec, PowerOff } from '../../shared/pool.js';
import type { Usage } from '../../shared/usage.js';
import type { Inventory, StagingRecord } from '../../shared/wire/messages.js';
import type { OutputSize } from './allocation.js';
import type { ScaleReason } from './instance.js';
import type { InstanceFault } from './pool.js';
import type { Alternative } from './route.js';

/**
 * Facts, in the past tense. The log keeps them, `apply` folds them, replay equals live.
 *
 * Adding one: union, `apply`, effect if any, golden log, README row. Changing one: raise EVENT_VERSION and upcast.
 */
export type BerthEvent =
  | {
      readonly type: 'job.submitted';
      readonly jobId: JobId;
      readonly sequence: number;
      readonly spec: JobSpec;
      readonly by: string;
      /** The submission's Idempotency-Key with a digest of the request that it came with (P2). */
      readonly key?: { readonly value: string; readonly digest: string };
    }
  | { readonly type: 'job.held'; readonly jobId: JobId }
  | { readonly type: 'job.released'; readonly jobId: JobId }
  | { readonly type: 'job.cancelRequested'; readonly jobId: JobId; readonly reason: string; readonly by: string }
  | { readonly type: 'job.finished'; readonly jobId: JobId; readonly outcome: JobOutcome; readonly reason?: string }
  /** Its needs have succeeded: its tasks are queued. */
  | { readonly type: 'step.released'; readonly jobId: JobId; readonly step: string }
  /** Its waiting tasks go to this one of its targets from now on. */
  | {
      readonly type: 'step.routed';
      readonly jobId: JobId;
      readonly step: string;
      readonly target: PlaceName;
      readonly because: string;
      readonly alternatives: readonly Alternative[];
    }
  /** All its tasks that hold no allocation are done with this outcome. */
  | { readonly type: 'step.swept'; readonly jobId: JobId; readonly step: string; readonly outcome: TaskOutcome }
  | {
      readonly type: 'task.requeued';
      readonly jobId: JobId;
      readonly step: string;
      readonly index: number;
      /** The attempt that it now waits for. */
      readonly attempt: number;
      readonly notBefore: EpochMs;
      readonly spentAttempts: number;
      readonly rejectedAttempts?: number;
    }
  | {
      readonly type: 'task.finished';
      readonly jobId: JobId;
      readonly step: string;
      readonly index: number;
      readonly outcome: TaskOutcome;
    }
  | {
      readonly type: 'allocation.committed';
      readonly allocationId: AllocationId;
      readonly nodeId: NodeId;
      readonly gpus: readonly number[];
    }
  | { readonly type: 'allocation.preparing'; readonly allocationId: AllocationId }
  | { readonly type: 'allocation.started'; readonly allocationId: AllocationId; readonly startedAt: EpochMs }
  | {
      readonly type: 'allocation.stopRequested';
      readonly allocationId: AllocationId;
      readonly reason: StopReason;
      /** The job that it makes room for, when it is preempted. */
      readonly for?: JobId;
    }
  | {
      readonly type: 'allocation.ended';
      readonly allocationId: AllocationId;
      readonly end: AllocationEnd;
      readonly output: OutputSize;
      readonly usage?: Usage;
      /** What exactly the image was. */
      readonly image?: string;
      /** What the attempt left: it is committed by its end, and so at most once. Absent when nothing was staged. */
      readonly staging?: StagingRecord;
    }
  /** A node joined, came back with another inventory, boot or version, or offers something else from now on. */
  | {
      readonly type: 'node.registered';
      readonly nodeId: NodeId;
      readonly identity: string;
      readonly version: string;
      readonly bootId: string;
      readonly inventory: Inventory;
    }
  | { readonly type: 'node.connected'; readonly nodeId: NodeId }
  | { readonly type: 'node.suspected'; readonly nodeId: NodeId; readonly until: EpochMs }
  | { readonly type: 'node.lost'; readonly nodeId: NodeId }
  | { readonly type: 'node.departed'; readonly nodeId: NodeId; readonly reason: string }
  | { readonly type: 'node.removed'; readonly nodeId: NodeId; readonly by: string }
  | { readonly type: 'node.opened'; readonly nodeId: NodeId; readonly by: string }
  | { readonly type: 'node.cordoned'; readonly nodeId: NodeId; readonly reason: string; readonly by: string }
  | {
      readonly type: 'node.draining';
      readonly nodeId: NodeId;
      readonly reason: string;
      readonly deadlineAt: EpochMs | null;
      readonly by: string;
    }
  | { readonly type: 'node.drained'; readonly nodeId: NodeId }
  | MirrorEvent
  | PoolEvent
  | InstanceEvent;

type MirrorEvent =
  /** The intent to have one remote job for these attempts, on disk before the remote system hears of it. */
  | {
      readonly type: 'mirror.submitted';
      readonly tag: string;
      /** Since the site may take no index as large as a task's: what is taken off all of them. Absent: nothing. */
      readonly indexOffset?: number;
      readonly allocationIds: readonly AllocationId[];
    }
  /** The remote system has it. */
  | {
      readonly type: 'mirror.queued';
      readonly tag: string;
      readonly remoteId: string;
      readonly allocationIds: readonly AllocationId[];
    }
  /** It was given nodes of the site, or was put back into the queue there. */
  | {
      readonly type: 'mirror.moved';
      readonly allocationId: AllocationId;
      readonly nodes: string;
      readonly requeueCount: number;
    };

type PoolEvent =
  | { readonly type: 'pool.defined'; readonly spec: PoolSpec; readonly by: string }
  /** It goes as soon as its machines are gone, and they go as soon as they have nothing to do. */
  | { readonly type: 'pool.retiring'; readonly pool: string; readonly reason: string; readonly by: string }
  | { readonly type: 'pool.removed'; readonly pool: string; readonly by: string }
  | { readonly type: 'pool.enabled'; readonly pool: string; readonly by: string }
  | { readonly type: 'pool.disabled'; readonly pool: string; readonly reason: string; readonly by: string }
  | { readonly type: 'pool.cordoned'; readonly pool: string; readonly reason: string; readonly by: string }
  /** So many machines are to be on at least; null: as its specification says. */
  | { readonly type: 'pool.scaled'; readonly pool: string; readonly count: number | null; readonly by: string };

type InstanceEvent =
  /** The intent to have a machine, on disk before its provider hears of it. */
  | {
      readonly type: 'instance.requested';
      readonly instanceId: InstanceId;
      readonly sequence: number;
      readonly pool: string;
      readonly nodeId: NodeId;
      readonly why: ScaleReason;
    }
  /** Its provider has it. */
  | { readonly type: 'instance.booting'; readonly instanceId: InstanceId; readonly ref: string }
  | { readonly type: 'instance.joined'; readonly instanceId: InstanceId }
  | {
      readonly type: 'instance.closing';
      readonly instanceId: InstanceId;
      readonly to: PowerOff;
      readonly reason: string;
    }
  /** Needed after all, while its node still had to confirm. */
  | { readonly type: 'instance.reopened'; readonly instanceId: InstanceId; readonly why: ScaleReason }
  /** Its node has confirmed, or cannot any more: it is to be switched off, and there is no way back. */
  | {
      readonly type: 'instance.stopping';
      readonly instanceId: InstanceId;
      readonly to: PowerOff;
      readonly reason: string;
    }
  | { readonly type: 'instance.suspended'; readonly instanceId: InstanceId }
  | { readonly type: 'instance.resuming'; readonly instanceId: InstanceId; readonly why: ScaleReason }
  /** It is gone. */
  | { readonly type: 'instance.terminated'; readonly instanceId: InstanceId; readonly reason: string }
  | {
      readonly type: 'instance.orderFailed';
      readonly instanceId: InstanceId;
      readonly order: 'create' | 'resume' | 'suspend' | 'join';
      readonly fault: InstanceFault;
      readonly message: string;
    };

export type EventType = BerthEvent['type'];
export type EventOf<Type extends EventType> = Extract<BerthEvent, { type: Type }>;

/** Version of the events' shapes, stored with each; `upcast` reads older ones. */
export const EVENT_VERSION = 1;

/** An event with its place in the log. */
export interface LoggedEvent {
  /** 1, 2, 3, ... without gaps. */
  readonly seq: number;
  /** The coordinator's clock when it was decided. */
  readonly at: EpochMs;
  readonly version: number;
  readonly event: BerthEvent;
}
