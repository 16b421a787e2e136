import type { EpochMs } from '../../shared/clock.js';
import type { HpcErrorKind, RemoteJob, RemoteOutcome } from './remote-job.js';

/** What is kept of a job that runs at a remote batch system. Plain data; it survives as JSON. */
export interface Mirror {
  readonly tag: string;
  readonly phase: MirrorPhase;
  /** As last seen; null before that. */
  readonly job: RemoteJob | null;
  /** Set once somebody wants the job to end. */
  readonly cancel: { readonly wantedAt: EpochMs; readonly askAt: EpochMs } | null;
  /** Why nothing is heard of the job; null while all is well. */
  readonly trouble: MirrorTrouble | null;
}

export type MirrorPhase =
  | {
      readonly kind: 'looking';
      readonly lookAt: EpochMs;
      readonly lookCount: number;
      /** A submission may be under way: one look that finds nothing proves nothing. */
      readonly wasSubmitting: boolean;
    }
  /** Nothing has the tag; from here on a submission may have been sent. */
  | { readonly kind: 'submitting'; readonly since: EpochMs }
  | {
      readonly kind: 'watching';
      readonly remoteId: string;
      readonly pollAt: EpochMs;
      readonly periodMs: number;
      /** Polls in a row in which nobody knew the job. */
      readonly missedCount: number;
      /** When the first of them was. */
      readonly missedAt: EpochMs;
      /** Other jobs with the same tag, which are to be canceled. */
      readonly duplicates: readonly string[];
    }
  | { readonly kind: 'ended'; readonly remoteId: string | null; readonly outcome: MirrorOutcome };

export type MirrorOutcome =
  | RemoteOutcome
  /** The remote system did not take the job. */
  | { readonly kind: 'refused'; readonly message: string }
  /** It was there, and nobody knows what became of it. */
  | { readonly kind: 'lost'; readonly message: string };

/** Paused, in effect: the job goes on, and is looked at again at `retryAt`. */
export interface MirrorTrouble {
  readonly kind: HpcErrorKind;
  readonly message: string;
  readonly since: EpochMs;
  readonly failureCount: number;
  readonly retryAt: EpochMs;
}

/** For people, after the target's name. */
export function troubleWords({ kind, message }: Pick<MirrorTrouble, 'kind' | 'message'>): string {
  return `cannot be asked (${kind}): ${message}`;
}

export const PATIENCE = {
  firstRetryMs: 1_000,
  maxRetryMs: 60_000,
  maxDoublings: 6,
  /** While a credential has expired, or something must be set right: no controller likes to be asked in vain. */
  pausedRetryMs: 30_000,
  /** A system may be slow with a cancellation, and asking again costs little. */
  cancelAgainMs: 10_000,
  periodGrowth: 1.5,
  missesBeforeLost: 5,
  lostAfterMs: 120_000,
  looksBeforeCanceled: 3,
} as const;

export const canceled: MirrorOutcome = { kind: 'canceled' };

/** A mirror that has done nothing yet. */
export function newMirror(tag: string, now: EpochMs): Mirror {
  return {
    tag,
    phase: { kind: 'looking', lookAt: now, lookCount: 0, wasSubmitting: false },
    job: null,
    cancel: null,
    trouble: null,
  };
}

/** As it was before its keeper died: what was under way then may have happened or not. */
export function recovered(mirror: Mirror, now: EpochMs): Mirror {
  return mirror.phase.kind === 'submitting' ? { ...mirror, phase: lookingAgain(now) } : mirror;
}

export function lookingAgain(now: EpochMs): MirrorPhase {
  return { kind: 'looking', lookAt: now, lookCount: 0, wasSubmitting: true };
}
