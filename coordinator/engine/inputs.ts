import type { EpochMs } from '../../shared/clock.js';
import type { AllocationId, InstanceId, JobId, NodeId } from '../../shared/ids.js';
import type { JobSpec } from '../../shared/job-spec/spec.js';
import type { PoolSpec } from '../../shared/pool.js';
import type { Hello, Inventory, Report } from '../../shared/wire/messages.js';
import type { Machine } from '../elastic/provider.js';
import type { BerthEvent } from '../model/events.js';
import type { Deadline } from '../model/indexes.js';
import type { MachineOrder } from '../model/instance.js';
import type { InstanceFault } from '../model/pool.js';

/** Everything that can happen to the coordinator. Rules turn inputs into events or refusals. */
export type Input =
  | SubmitJob
  /** Would this job be taken on? Changes nothing. */
  | { readonly type: 'rehearseJob'; readonly spec: JobSpec; readonly by: string }
  | { readonly type: 'holdJob'; readonly jobId: JobId }
  | { readonly type: 'releaseJob'; readonly jobId: JobId }
  | { readonly type: 'cancelJob'; readonly jobId: JobId; readonly reason: string; readonly by: string }
  /** An agent said hello on an authenticated connection; with a ticket it may join once, as its machine's node. */
  | { readonly type: 'agentJoined'; readonly hello: Hello; readonly hasTicket?: true }
  | { readonly type: 'agentReported'; readonly nodeId: NodeId; readonly report: Report }
  /** A connected node offers something else than it did. */
  | { readonly type: 'inventoryChanged'; readonly nodeId: NodeId; readonly inventory: Inventory }
  /** The connection of a node is gone; it may come back until its lease ends. */
  | { readonly type: 'agentSilent'; readonly nodeId: NodeId }
  | { readonly type: 'agentDeparting'; readonly nodeId: NodeId; readonly reason: string }
  | { readonly type: 'cordonNode'; readonly nodeId: NodeId; readonly reason: string; readonly by: string }
  | {
      readonly type: 'drainNode';
      readonly nodeId: NodeId;
      readonly reason: string;
      readonly deadlineMs: number | null;
      readonly by: string;
    }
  | { readonly type: 'openNode'; readonly nodeId: NodeId; readonly by: string }
  | { readonly type: 'removeNode'; readonly nodeId: NodeId; readonly by: string }
  /** A node that was asked to close holds nothing and takes nothing; `closing` says which asking it answers. */
  | { readonly type: 'agentClosed'; readonly nodeId: NodeId; readonly closing: number }
  | PoolInput
  | MachineInput
  | MirrorInput
  /** What the operator allows is another: what waits may start now. */
  | { readonly type: 'limitsChanged' }
  /** Remote batch systems have said something new: what waits may be better off elsewhere. */
  | { readonly type: 'outlookChanged' }
  /** The coordinator started on an existing log: no connection of before is alive. */
  | { readonly type: 'coordinatorStarted' }
  /** A deadline of the view has passed. */
  | { readonly type: 'timePassed'; readonly deadline: Deadline };

type PoolInput =
  /** All pools of one origin; those of it that are not among them go. */
  | { readonly type: 'definePools'; readonly specs: readonly PoolSpec[]; readonly by: string }
  | { readonly type: 'definePool'; readonly spec: PoolSpec; readonly by: string }
  | { readonly type: 'removePool'; readonly pool: string; readonly by: string }
  | { readonly type: 'enablePool'; readonly pool: string; readonly by: string }
  | { readonly type: 'disablePool'; readonly pool: string; readonly reason: string; readonly by: string }
  | { readonly type: 'cordonPool'; readonly pool: string; readonly reason: string; readonly by: string }
  /** So many machines are to be on at least; null: as its specification says. */
  | { readonly type: 'scalePool'; readonly pool: string; readonly count: number | null; readonly by: string };

type MachineInput =
  /** A provider has taken the order to make a machine. */
  | { readonly type: 'machineCreated'; readonly instanceId: InstanceId; readonly ref: string }
  /** A provider will not carry an order out. */
  | {
      readonly type: 'machineRefused';
      readonly instanceId: InstanceId;
      readonly order: MachineOrder;
      readonly fault: Exclude<InstanceFault, 'timeout'>;
      readonly message: string;
    }
  /** What a pool's provider has, as it was when the question was put, or later. */
  | {
      readonly type: 'machinesListed';
      readonly pool: string;
      readonly machines: readonly Machine[];
      readonly askedAt: EpochMs;
    };

type MirrorInput =
  /** One remote job is to be submitted for these attempts of a target. */
  | {
      readonly type: 'submitMirror';
      readonly tag: string;
      readonly indexOffset: number;
      readonly allocationIds: readonly AllocationId[];
    }
  /** The remote system has it. */
  | { readonly type: 'mirrorQueued'; readonly tag: string; readonly remoteId: string; readonly nodeId: NodeId }
  | {
      readonly type: 'mirrorMoved';
      readonly allocationId: AllocationId;
      readonly nodes: string;
      readonly requeueCount: number;
    };

export interface SubmitJob {
  readonly type: 'submitJob';
  readonly spec: JobSpec;
  readonly by: string;
  /** `digest` identifies the request's content: the same key with another digest is refused. */
  readonly key?: { readonly value: string; readonly digest: string };
}

export type InputType = Input['type'];
export type InputOf<Type extends InputType> = Extract<Input, { type: Type }>;

/** What an input that was not refused answers, besides its events. */
export type Reply =
  | { readonly kind: 'job'; readonly jobId: JobId; readonly isNew: boolean }
  | { readonly kind: 'done' };

/** A rule's answer: what is now true, and what to tell the one who asked. */
export interface Decision {
  readonly events: readonly BerthEvent[];
  readonly reply?: Reply;
  /** Work that follows from no event: an order to stop what the view does not know. */
  readonly effects?: readonly Effect[];
}

/** Work for the world, performed only after the events behind it are on disk. All of it is idempotent. */
export type Effect = NodeEffect | MachineEffect;

/** Work for the agents. */
export type NodeEffect =
  | { readonly kind: 'start'; readonly nodeId: NodeId; readonly allocationId: AllocationId }
  | { readonly kind: 'stop'; readonly nodeId: NodeId; readonly allocationId: AllocationId }
  | { readonly kind: 'sync'; readonly nodeId: NodeId }
  /** The node is to close, or is open again. */
  | { readonly kind: 'intake'; readonly nodeId: NodeId }
  /** The node's machine is off: whoever speaks in its name speaks from the past. */
  | { readonly kind: 'disconnect'; readonly nodeId: NodeId };

/** Work for the makers of machines. */
export type MachineEffect =
  /** The provider is to be told what the machine's phase asks for. */
  | { readonly kind: 'machine'; readonly instanceId: InstanceId }
  /** A machine that nobody wants any more. */
  | { readonly kind: 'orphan'; readonly pool: string; readonly ref: string };
