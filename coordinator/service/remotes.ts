import type { EpochMs } from '../../shared/clock.js';
import type { Refusal } from '../../shared/errors.js';
import type { AllocationId } from '../../shared/ids.js';
import type { JobSpec } from '../../shared/job-spec/spec.js';
import type { OutlookRequest, SiteOutlook } from '../routing/outlook.js';

/** What is known of remote batch systems without asking them. */
export interface Remotes {
  /** Why a target cannot be asked for this job: none of that name, a missing secret, what no batch system can do. */
  refuse(spec: JobSpec): Promise<Refusal | undefined>;
  /** Some secret has another value: sites that let nobody in are tried at once. */
  secretSet(): void;
  /** Where an attempt stands there, and what keeps news of it away; undefined when nothing is known. */
  stateOf(allocationId: AllocationId): RemoteState | undefined;
  /** What is to be expected there; undefined when there is no such target. */
  outlookOf(request: OutlookRequest): SiteOutlook | undefined;
}

export interface RemoteState {
  /** It has not begun there. */
  readonly isWaiting: boolean;
  /** For people. */
  readonly message: string;
  /** Nothing is heard of it for now, whether it has begun or not. */
  readonly isUnseen?: true;
  /** When the system expects it to start; absent when it does not say. */
  readonly expectedAt?: EpochMs;
}
