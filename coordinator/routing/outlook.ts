import type { JobSpec, StepSpec, TargetName } from '../../shared/job-spec/spec.js';

/** What is known of a remote batch system without asking it now: soft state, and never the ground of a fact by itself. */
export type Outlook = (request: OutlookRequest) => SiteOutlook | undefined;

export interface OutlookRequest {
  readonly spec: JobSpec;
  readonly step: StepSpec;
  readonly target: TargetName;
}

export interface SiteOutlook {
  readonly pricePerCoreHour: number;
  /** Why nothing can be submitted there now; null when it can, as far as anybody knows. */
  readonly trouble: string | null;
  /** What the system itself expects of such a job; null when it has not said, or never does. */
  readonly estimate: { readonly by: string; readonly waitMs: number } | null;
}
