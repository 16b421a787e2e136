import type { EpochMs } from '../../shared/clock.js';
import type { InstanceId, NodeId } from '../../shared/ids.js';
import type { PowerOff } from '../../shared/pool.js';

/**
 * A machine that we rent, from the intent to have it until it is gone.
 *
 * Its intent is on disk before its provider hears of it, and its tag is made of its id: whatever happens in between, it
 * is found again by its tag and never made twice.
 */
export interface Instance {
  readonly id: InstanceId;
  readonly pool: string;
  /** The name under which its agent joins. */
  readonly nodeId: NodeId;
  /** The provider's name for it; null until the provider has said it. */
  readonly ref: string | null;
  readonly requestedAt: EpochMs;
  readonly why: ScaleReason;
  readonly phase: InstancePhase;
  /** How often it has been asked to close: the number of the newest asking. */
  readonly closingCount: number;
  readonly powerOnCount: number;
  /** When its node last held something; null while it never did. */
  readonly busyUntil: EpochMs | null;
  /** How long its node's attempts lasted that have ended, each by its share of the node; absent for 0. */
  readonly servedMs?: number;
  /** Before the present phase: paid for as on, and parked. */
  readonly onMs: number;
  readonly suspendedMs: number;
}

export type InstancePhase =
  /** Its provider is to be told, or has been and has not answered yet. */
  | { readonly kind: 'requested'; readonly since: EpochMs }
  | { readonly kind: 'booting'; readonly since: EpochMs }
  | { readonly kind: 'joined'; readonly since: EpochMs }
  /** Its node takes nothing new and is to confirm that it holds nothing. */
  | { readonly kind: 'closing'; readonly since: EpochMs; readonly to: PowerOff; readonly reason: string }
  /** It holds nothing; its provider is to switch it off. */
  | { readonly kind: 'stopping'; readonly since: EpochMs; readonly to: PowerOff; readonly reason: string }
  | { readonly kind: 'suspended'; readonly since: EpochMs }
  | { readonly kind: 'resuming'; readonly since: EpochMs };

export type InstancePhaseKind = InstancePhase['kind'];

/** A machine that is gone, or was never had, has no record any more. */
export const INSTANCE_TRANSITIONS: Readonly<Record<InstancePhaseKind, readonly InstancePhaseKind[]>> = {
  requested: ['booting', 'stopping'],
  booting: ['joined', 'stopping'],
  joined: ['closing', 'stopping', 'suspended'],
  closing: ['joined', 'stopping', 'suspended'],
  stopping: ['stopping', 'suspended'],
  suspended: ['resuming', 'joined', 'stopping'],
  resuming: ['joined', 'suspended', 'stopping'],
};

/** What a machine was started for. */
export type ScaleReason = 'demand' | 'warm' | 'minimum' | 'request' | 'predeploy';

/** Is it paid for as a machine that is on? */
export function isOn(phase: InstancePhase): boolean {
  return phase.kind !== 'suspended';
}

/** How long before a machine that was ordered and has not joined is given up: several times what is usual. */
export function joinLimitMs(expectedMs: number): number {
  return Math.max(JOIN_LIMIT.leastMs, JOIN_LIMIT.factor * expectedMs);
}

const JOIN_LIMIT = { leastMs: 10 * 60_000, factor: 4 } as const;

/** A machine whose node has been lost for so long is switched off: nobody can ask it any more. */
export const LOST_LIMIT_MS = 10 * 60_000;

/** What a provider is told to do with a machine. */
export type MachineOrder = 'create' | 'suspend' | 'resume' | 'terminate';

/** What its provider is to be told; undefined when nothing. */
export function orderOf({ phase }: Instance): MachineOrder | undefined {
  switch (phase.kind) {
    case 'requested':
      return 'create';
    case 'resuming':
      return 'resume';
    case 'stopping':
      return phase.to;
    default:
      return undefined;
  }
}
