import type { EpochMs } from '../../../shared/clock.js';
import type { InstanceId } from '../../../shared/ids.js';
import type { PowerOff } from '../../../shared/pool.js';
import type { ScaleReason } from '../../model/instance.js';

export type ElasticDecision =
  /** Make a new machine. */
  | { readonly kind: 'request'; readonly pool: string; readonly why: ScaleReason }
  | { readonly kind: 'resume'; readonly instanceId: InstanceId; readonly why: ScaleReason }
  /** Its node takes nothing new; it is switched off when it has confirmed that it is empty. */
  | { readonly kind: 'close'; readonly instanceId: InstanceId; readonly to: PowerOff; readonly reason: string }
  /** Take a closing node back. */
  | { readonly kind: 'reopen'; readonly instanceId: InstanceId; readonly why: ScaleReason };

export interface ElasticPlan {
  readonly decisions: readonly ElasticDecision[];
  /** When to look again although nothing happens; undefined: when something happens. */
  readonly revisitAt: EpochMs | undefined;
}
