import type { AllocationId, JobId, NodeId } from '../../shared/ids.js';
import type { JobSpec } from '../../shared/job-spec/spec.js';
import type { Hello, Inventory, Report } from '../../shared/wire/messages.js';
import type { BerthEvent } from '../model/events.js';
import type { Deadline } from '../model/indexes.js';

/** Everything that can happen to the coordinator. Rules turn inputs into events or refusals. */
export type Input =
  | SubmitJob
  /** Would this job be taken on? Changes nothing. */
  | { readonly type: 'rehearseJob'; readonly spec: JobSpec; readonly by: string }
  | { readonly type: 'holdJob'; readonly jobId: JobId }
  | { readonly type: 'releaseJob'; readonly jobId: JobId }
  | { readonly type: 'cancelJob'; readonly jobId: JobId; readonly reason: string; readonly by: string }
  /** An agent said hello on an authenticated connection. */
  | { readonly type: 'agentJoined'; readonly hello: Hello }
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
  /** What the operator allows is another: what waits may start now. */
  | { readonly type: 'limitsChanged' }
  /** The coordinator started on an existing log: no connection of before is alive. */
  | { readonly type: 'coordinatorStarted' }
  /** A deadline of the view has passed. */
  | { readonly type: 'timePassed'; readonly deadline: Deadline };

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
export type Effect =
  | { readonly kind: 'start'; readonly nodeId: NodeId; readonly allocationId: AllocationId }
  | { readonly kind: 'stop'; readonly nodeId: NodeId; readonly allocationId: AllocationId }
  | { readonly kind: 'sync'; readonly nodeId: NodeId };
