import type { EpochMs } from '../../shared/clock.js';
import type { NodeId } from '../../shared/ids.js';
import type { GpuDevice, Resources } from '../../shared/resources.js';
import type { Inventory, Volume } from '../../shared/wire/messages.js';

/** A machine as the coordinator sees it: two facets that move independently. */
export interface Node {
  readonly id: NodeId;
  readonly identity: string;
  readonly version: string;
  readonly bootId: string;
  readonly inventory: Inventory;
  readonly registeredAt: EpochMs;
  readonly link: NodeLink;
  readonly intake: NodeIntake;
  /** Interned key of everything static that feasibility may read; equal nodes share it. */
  readonly nodeClass: NodeClass;
}

export type NodeLink =
  | { readonly kind: 'connected'; readonly since: EpochMs }
  /** Silent; its allocations are believed until `until`. */
  | { readonly kind: 'suspect'; readonly since: EpochMs; readonly until: EpochMs }
  | { readonly kind: 'lost'; readonly since: EpochMs }
  | { readonly kind: 'departed'; readonly since: EpochMs };

export type NodeLinkKind = NodeLink['kind'];

/** Nothing is to be heard of it until it comes back by itself. */
export function isSilent({ kind }: NodeLink): boolean {
  return kind === 'lost' || kind === 'departed';
}

export const LINK_TRANSITIONS: Readonly<Record<NodeLinkKind, readonly NodeLinkKind[]>> = {
  connected: ['connected', 'suspect', 'departed'],
  suspect: ['connected', 'suspect', 'lost', 'departed'],
  lost: ['connected', 'departed'],
  departed: ['connected'],
};

export type NodeIntake =
  | { readonly kind: 'open' }
  | { readonly kind: 'cordoned'; readonly since: EpochMs; readonly reason: string }
  /** Takes nothing new; what still runs at `deadlineAt` is stopped and requeued. */
  | { readonly kind: 'draining'; readonly since: EpochMs; readonly reason: string; readonly deadlineAt: EpochMs | null }
  | { readonly kind: 'drained'; readonly since: EpochMs; readonly reason: string }
  /** Takes nothing new, for its machine is to be switched off, or is. */
  | { readonly kind: 'closing'; readonly since: EpochMs; readonly reason: string };

export type NodeIntakeKind = NodeIntake['kind'];

export const INTAKE_TRANSITIONS: Readonly<Record<NodeIntakeKind, readonly NodeIntakeKind[]>> = {
  open: ['cordoned', 'draining', 'closing'],
  cordoned: ['open', 'draining'],
  draining: ['open', 'cordoned', 'draining', 'drained'],
  drained: ['open', 'cordoned', 'draining', 'closing'],
  closing: ['open', 'cordoned', 'draining'],
};

/** Everything about a node that feasibility may read. */
export interface NodeClass {
  readonly key: string;
  readonly capacity: Resources;
  readonly gpus: readonly GpuDevice[];
  readonly labels: Readonly<Record<string, string>>;
  readonly attributes: Readonly<Record<string, string>>;
  readonly drivers: readonly string[];
  readonly volumes?: readonly Volume[];
  /** Its pool gives it to one task at a time; absent where tasks share. */
  readonly exclusive?: true;
}
