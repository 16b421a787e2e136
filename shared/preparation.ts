import type { AllocationId } from './ids.js';

/** What goes on with an attempt before its command can start. A sample: shown, never decided on. */
export type Preparation =
  | { readonly kind: 'staging' }
  /** Its image comes. Of layers that are not known yet no bytes are counted, so the total may grow. */
  | { readonly kind: 'pulling'; readonly image: string; readonly bytes: number; readonly totalBytes: number };

export interface AttemptPreparation {
  readonly allocationId: AllocationId;
  readonly preparation: Preparation;
}
