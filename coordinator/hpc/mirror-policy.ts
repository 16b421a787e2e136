import { assertNever } from '../../shared/assert.js';
import type { EpochMs } from '../../shared/clock.js';
import { canceled, lookingAgain, type Mirror, type MirrorOutcome, type MirrorTrouble, PATIENCE } from './mirror.js';
import type { HpcErrorKind, RemoteJob, RemoteOutcome } from './remote-job.js';
import type { MonitoringPeriod } from './target.js';

/**
 * How a remote job is mirrored. Pure: a record says what to do next, and what came of it makes the next record.
 *
 *   looking ──found──────────────> watching ──ended──> ended
 *      └──not found──> submitting ──id──┘
 *
 * - A lookup by the tag precedes every submission that may not be the first, so that one of which nobody knows whether
 *   it arrived is found instead of being sent again.
 * - Trouble is no end. It is said, with a time at which to try again, and the job goes on where it is; only what the
 *   remote side refuses to take at all ends a mirror before it has a job.
 * - That a job is to be canceled is part of the record, and is asked for until the job has ended.
 * - A job that the controller no longer knows has ended as accounting says, else as its own marks do; without any it is
 *   lost, once it has been asked for often enough. While accounting cannot be asked nothing is concluded.
 */
export type MirrorStep =
  /** Ask for jobs with the tag; if there are none, for marks in the work directory. */
  | { readonly kind: 'find' }
  | { readonly kind: 'submit' }
  /** Ask for the state of the job, of many mirrors at once; if it is unknown, for its marks. */
  | { readonly kind: 'poll'; readonly remoteId: string }
  | { readonly kind: 'cancel'; readonly remoteId: string }
  | { readonly kind: 'wait'; readonly until: EpochMs }
  | { readonly kind: 'done'; readonly outcome: MirrorOutcome };

export type MirrorResult =
  | { readonly kind: 'found'; readonly jobs: readonly RemoteJob[] }
  | { readonly kind: 'submitted'; readonly remoteId: string }
  /** Undefined: neither controller, accounting nor marks tell of the job. */
  | { readonly kind: 'status'; readonly job: RemoteJob | undefined }
  /** The controller does not tell of it, or not of all, and accounting could not be asked. */
  | { readonly kind: 'unsure'; readonly job: RemoteJob | undefined; readonly error: MirrorError }
  | { readonly kind: 'cancel-sent'; readonly remoteId: string }
  | { readonly kind: 'failed'; readonly step: MirrorStep; readonly error: MirrorError };

export interface MirrorError {
  readonly kind: HpcErrorKind;
  readonly message: string;
}

/** What to do now. */
export function nextStep(mirror: Mirror, now: EpochMs): MirrorStep {
  const { phase, trouble, cancel } = mirror;
  if (phase.kind === 'ended') return { kind: 'done', outcome: phase.outcome };
  if (trouble && now < trouble.retryAt) return { kind: 'wait', until: trouble.retryAt };
  switch (phase.kind) {
    case 'looking':
      return now < phase.lookAt ? { kind: 'wait', until: phase.lookAt } : { kind: 'find' };
    case 'submitting':
      return { kind: 'submit' };
    case 'watching': {
      const [duplicate] = phase.duplicates;
      if (duplicate !== undefined) return { kind: 'cancel', remoteId: duplicate };
      if (cancel && now >= cancel.askAt) return { kind: 'cancel', remoteId: phase.remoteId };
      if (now >= phase.pollAt) return { kind: 'poll', remoteId: phase.remoteId };
      return { kind: 'wait', until: Math.min(phase.pollAt, cancel?.askAt ?? phase.pollAt) };
    }
    default:
      return assertNever(phase, 'mirror phase');
  }
}

/** The record after a step. Throws only if the result belongs to no step of this mirror. */
export function afterStep(mirror: Mirror, result: MirrorResult, clock: PolicyClock): Mirror {
  if (result.kind === 'failed') return afterFailure(mirror, result, clock.now);
  if (result.kind === 'unsure') {
    const trouble = troubleOf(mirror.trouble, result.error, clock.now);
    return { ...mirror, trouble, job: result.job ?? mirror.job };
  }
  const calm: Mirror = { ...mirror, trouble: null };
  switch (result.kind) {
    case 'found':
      return afterLookup(calm, result.jobs, clock);
    case 'submitted':
      return watching(calm, { remoteId: result.remoteId, duplicates: [] }, clock);
    case 'cancel-sent':
      return afterCancel(calm, result.remoteId, clock);
    case 'status':
      return afterStatus(calm, result.job, clock);
    default:
      return assertNever(result, 'result of a mirror');
  }
}

export interface PolicyClock {
  readonly now: EpochMs;
  readonly period: MonitoringPeriod;
}

/** Cancel wins over everything that has not happened yet; asking for it again changes nothing. */
export function wantCancel(mirror: Mirror, now: EpochMs): Mirror {
  if (mirror.cancel || mirror.phase.kind === 'ended') return mirror;
  const phase = mirror.phase.kind === 'submitting' ? lookingAgain(now) : mirror.phase;
  return { ...tryingAgain(mirror, now), phase, cancel: { wantedAt: now, askAt: now } };
}

/** What it waits for may have been mended: it is tried now. */
export function tryingAgain(mirror: Mirror, now: EpochMs): Mirror {
  return mirror.trouble ? { ...mirror, trouble: { ...mirror.trouble, retryAt: now } } : mirror;
}

/** Something was asked for that may change the job: look soon. */
export function expectChange(mirror: Mirror, { now, period }: PolicyClock): Mirror {
  const { phase } = mirror;
  return phase.kind === 'watching' ? { ...mirror, phase: { ...phase, pollAt: now, periodMs: period.minMs } } : mirror;
}

function afterLookup(mirror: Mirror, jobs: readonly RemoteJob[], clock: PolicyClock): Mirror {
  const { phase, cancel } = mirror;
  const [job, ...others] = jobs;
  if (job) {
    const duplicates = others.filter(({ state }) => state !== 'ended').map(({ id }) => id);
    const found = watching(mirror, { remoteId: job.id, duplicates }, clock);
    return duplicates.length > 0 ? found : afterStatus(found, job, clock);
  }
  if (phase.kind !== 'looking') return mirror;
  if (!cancel) return { ...mirror, phase: { kind: 'submitting', since: clock.now } };
  // A submission that was under way when its sender died may still arrive.
  const lookCount = phase.lookCount + 1;
  const isCertain = !phase.wasSubmitting || lookCount >= PATIENCE.looksBeforeCanceled;
  if (isCertain) return ended(mirror, canceled);
  return { ...mirror, phase: { ...phase, lookCount, lookAt: clock.now + clock.period.minMs } };
}

interface Watched {
  readonly remoteId: string;
  readonly duplicates: readonly string[];
}

function watching(mirror: Mirror, watched: Watched, { now, period }: PolicyClock): Mirror {
  const phase = {
    kind: 'watching',
    ...watched,
    pollAt: now,
    periodMs: period.minMs,
    missedCount: 0,
    missedAt: now,
  } as const;
  return { ...mirror, phase };
}

function afterCancel(mirror: Mirror, remoteId: string, clock: PolicyClock): Mirror {
  const { phase, cancel } = mirror;
  if (phase.kind !== 'watching') return mirror;
  if (phase.duplicates.includes(remoteId)) {
    return { ...mirror, phase: { ...phase, duplicates: phase.duplicates.filter((id) => id !== remoteId) } };
  }
  if (!cancel) return mirror;
  return expectChange({ ...mirror, cancel: { ...cancel, askAt: clock.now + PATIENCE.cancelAgainMs } }, clock);
}

function afterStatus(mirror: Mirror, job: RemoteJob | undefined, { now, period }: PolicyClock): Mirror {
  const { phase } = mirror;
  if (phase.kind !== 'watching') return mirror;
  if (job?.state === 'ended') {
    const outcome = job.outcome ?? { kind: 'unknown', message: 'the remote system did not say how the job ended' };
    return { ...ended(mirror, mirror.cancel ? ofCanceled(outcome) : outcome), job };
  }
  if (job) {
    const hasChanged = signature(job) !== signature(mirror.job);
    const periodMs = hasChanged ? period.minMs : Math.min(period.maxMs, phase.periodMs * PATIENCE.periodGrowth);
    return { ...mirror, job, phase: { ...phase, periodMs, pollAt: now + periodMs, missedCount: 0 } };
  }
  return afterMiss(mirror, phase, { now, period });
}

/** Some systems tell of a job that they were asked to end only that a signal ended it. */
function ofCanceled(outcome: RemoteOutcome): RemoteOutcome {
  if (outcome.kind !== 'failed') return outcome;
  const bySignal = outcome.signal !== null || ENDED_BY_SIGNAL.has(outcome.exitCode ?? 0);
  return bySignal ? { kind: 'canceled' } : outcome;
}

/** As shells tell of TERM, INT and KILL. */
const ENDED_BY_SIGNAL: ReadonlySet<number> = new Set([143, 130, 137]);

/** Accounting lags behind the controller, so that one look proves nothing. */
function afterMiss(mirror: Mirror, phase: Watching, { now, period }: PolicyClock): Mirror {
  const missedCount = phase.missedCount + 1;
  const missedAt = phase.missedCount === 0 ? now : phase.missedAt;
  if (missedCount >= PATIENCE.missesBeforeLost) {
    if (mirror.cancel) return ended(mirror, canceled);
    if (now - missedAt >= PATIENCE.lostAfterMs) return ended(mirror, lost(phase.remoteId));
  }
  const periodMs = missedCount === 1 ? period.minMs : Math.min(period.maxMs, phase.periodMs * PATIENCE.periodGrowth);
  return { ...mirror, phase: { ...phase, missedCount, missedAt, periodMs, pollAt: now + periodMs } };
}

type Watching = Extract<Mirror['phase'], { kind: 'watching' }>;

function lost(remoteId: string): MirrorOutcome {
  const message = `the remote system no longer knows job ${remoteId}, accounting does not either, and the job left no status in its work directory: it was killed (time limit, memory, a node) or never began`;
  return { kind: 'lost', message };
}

/** What makes a job worth looking at again soon. */
function signature(job: RemoteJob | null): string {
  if (!job) return '';
  const tasks = job.tasks.map(({ index, state }) => `${index}${state}`).join();
  return [job.state, job.reason, job.nodes, job.requeueCount, tasks].join('|');
}

function ended(mirror: Mirror, outcome: MirrorOutcome): Mirror {
  const remoteId = mirror.phase.kind === 'watching' ? mirror.phase.remoteId : null;
  return { ...mirror, trouble: null, phase: { kind: 'ended', remoteId, outcome } };
}

function afterFailure(mirror: Mirror, { step, error }: MirrorResult & { kind: 'failed' }, now: EpochMs): Mirror {
  const isFinal = error.kind === 'refused' || error.kind === 'configuration';
  if (isFinal && step.kind === 'submit') return ended(mirror, { kind: 'refused', message: error.message });
  const { phase } = mirror;
  const troubled = { ...mirror, trouble: troubleOf(mirror.trouble, error, now) };
  // Whether the submission arrived is what the next lookup is for.
  if (step.kind !== 'submit' || phase.kind !== 'submitting') return troubled;
  return { ...troubled, phase: lookingAgain(now) };
}

function troubleOf(before: MirrorTrouble | null, { kind, message }: MirrorError, now: EpochMs): MirrorTrouble {
  const isSame = before?.kind === kind;
  const failureCount = isSame ? before.failureCount + 1 : 1;
  const growing = PATIENCE.firstRetryMs * 2 ** Math.min(failureCount - 1, PATIENCE.maxDoublings);
  const waitMs = kind === 'unavailable' ? Math.min(PATIENCE.maxRetryMs, growing) : PATIENCE.pausedRetryMs;
  return { kind, message, since: isSame ? before.since : now, failureCount, retryAt: now + waitMs };
}
