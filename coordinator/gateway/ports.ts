import type { Refusal } from '../../shared/errors.js';
import type { AllocationId, NodeId } from '../../shared/ids.js';
import type { Hello, StartOrder, StopOrder, Sync } from '../../shared/wire/messages.js';
import type { Input, Reply } from '../engine/inputs.js';

/** The part of the engine that the gateway uses. */
export interface EngineHandle {
  /** Resolves when everything that follows from the input is on disk; rejects when that cannot be. */
  handle(input: Input): Promise<Reply | Refusal>;
  /** The same for several, in order, as one. */
  handleAll(inputs: readonly Input[]): Promise<void>;
}

/** What the gateway asks of the engine's state to put an effect into words. */
export interface OrderSource {
  /** Undefined when the allocation has ended meanwhile: nothing is to be started. */
  startOrder(allocationId: AllocationId): StartOrder | undefined;
  /** Undefined when nothing is known of the allocation. */
  stopOrder(allocationId: AllocationId): StopOrder | undefined;
  /** Number of the asking by which the node is to close; 0 when it is to be open. */
  closingOf(nodeId: NodeId): number;
  /** Where an allocation was placed; undefined when nobody remembers it. Asked in order, it answers in order. */
  nodeOf(allocationId: AllocationId): Promise<NodeId | undefined>;
  /** How much of each of its streams its job wants kept; undefined for as much as is kept of any. Likewise in order. */
  logLimitMiBOf(allocationId: AllocationId): Promise<number | undefined>;
  /** The whole truth for one agent; names everything that `hello` says it holds. */
  syncFor(nodeId: NodeId, hello: Hello): Sync;
}
