import type { EpochMs } from '../../../shared/clock.js';
import type { AllocationId } from '../../../shared/ids.js';
import type { OutputSpec } from '../../../shared/job-spec/staging-spec.js';
import type { StopReason } from '../../../shared/outcome.js';
import { roughDuration } from '../../../shared/units.js';
import type { InputOrder, LogStream, SecretGrant } from '../../../shared/wire/messages.js';
import { lookingAgain, type Mirror, type MirrorTrouble, newMirror, troubleWords } from '../mirror.js';
import { wantCancel } from '../mirror-policy.js';
import type { Submission } from '../submission.js';

/** One remote job with the attempts that are its tasks. Nothing of it must survive: the event log has what must. */
export interface RemoteWork {
  readonly submission: Submission;
  readonly inputs: readonly InputOrder[];
  /** Their values of now; asked for when they are sent, and not kept. */
  readonly secrets: () => readonly SecretGrant[];
  readonly outputs: readonly OutputSpec[];
  readonly logLimitMiB: number | undefined;
  /** Attempts whose end has not been reported, by task index. */
  readonly members: Map<number, Member>;
  mirror: Mirror;
  /** Some task did not complete, and the work directory may tell why. */
  hasFailed: boolean;
}

export interface Member {
  /** As the site has it, like everything of the job there; see array-range.ts. */
  readonly index: number;
  readonly allocationId: AllocationId;
  /** Why it is to stop; null while it is not. */
  stopReason: StopReason | null;
  /** When a task of a larger array is to be canceled, for the first time or again. */
  cancelAt: EpochMs;
  startedAt: EpochMs | null;
  isFinishing: boolean;
  /** What has been reported. */
  nodes: string;
  requeueCount: number;
  /** How far its output has been kept; absent before that was asked. */
  readonly kept: Partial<Record<LogStream, number>>;
}

export interface Beginning {
  readonly now: EpochMs;
  /** It may have been submitted, by a coordinator that died. */
  readonly wasThere: boolean;
  /** As it was last recorded; null when it was not. */
  readonly remoteId: string | null;
  readonly periodMs: number;
}

export function mirrorFrom(tag: string, { now, wasThere, remoteId, periodMs }: Beginning): Mirror {
  const fresh = newMirror(tag, now);
  if (remoteId !== null) {
    const phase = {
      kind: 'watching',
      remoteId,
      pollAt: now,
      periodMs,
      missedCount: 0,
      missedAt: now,
      duplicates: [],
    } as const;
    return { ...fresh, phase };
  }
  // A tag that was made just now, and is on disk since, nobody can have submitted.
  return { ...fresh, phase: wasThere ? lookingAgain(now) : { kind: 'submitting', since: now } };
}

/** The job goes when all that is left of it is to go; of a larger array, the task alone. */
export function stopMember(work: RemoteWork, member: Member, wanted: { reason: StopReason; now: EpochMs }): void {
  member.stopReason ??= wanted.reason;
  member.cancelAt = wanted.now;
  const areAll = [...work.members.values()].every(({ stopReason }) => stopReason !== null);
  if (areAll) work.mirror = wantCancel(work.mirror, wanted.now);
}

export function isArray({ submission }: RemoteWork): boolean {
  return submission.options.array !== undefined;
}

/** Null before it has one. */
export function remoteIdOf({ mirror: { phase } }: RemoteWork): string | null {
  return phase.kind === 'watching' || phase.kind === 'ended' ? phase.remoteId : null;
}

/** What is told of an attempt before it has ended. */
export interface RemoteState {
  readonly isWaiting: boolean;
  readonly message: string;
  /** Nothing is heard of it for now, whether it has begun or not. */
  readonly isUnseen?: true;
  /** When the system expects it to start; absent when it does not say. */
  readonly expectedAt?: EpochMs;
}

/** Where an attempt stands; undefined when its end is all that is known. */
export function stateOf(
  work: RemoteWork,
  index: number,
  { target, now, trouble }: { readonly target: string; readonly now: EpochMs; readonly trouble: MirrorTrouble | null },
): RemoteState | undefined {
  const { phase } = work.mirror;
  if (phase.kind === 'ended') return undefined;
  const member = work.members.get(index);
  const isWaiting = member?.startedAt === null;
  if (trouble) {
    const meanwhile = phase.kind === 'watching' ? 'the job goes on there' : 'it is submitted later';
    return { isWaiting, isUnseen: true, message: `${target} ${troubleWords(trouble)}; ${meanwhile}` };
  }
  if (phase.kind !== 'watching') return { isWaiting, message: `is being submitted to ${target}` };
  const { job } = work.mirror;
  const task = job?.tasks.find((each) => each.index === index) ?? job;
  const where = `job ${phase.remoteId}`;
  if (!task || task.state === 'pending') {
    const again = task && task.requeueCount > 0 ? ' again' : '';
    const reason = task?.reason ? `: ${task.reason}` : '';
    const expectedAt = task?.expectedAt;
    const expected = expectedAt === undefined ? '' : `, expected to start in ${roughDuration(expectedAt - now)}`;
    const message = `waits${again} in the queue of ${target}${reason}${expected} (${where})`;
    return { isWaiting: true, message, ...(expectedAt === undefined ? {} : { expectedAt }) };
  }
  const nodes = task.nodes === '' ? '' : ` on ${task.nodes}`;
  return {
    isWaiting: false,
    message: `${task.state === 'ended' ? 'has ended' : 'runs'} at ${target} (${where}${nodes})`,
  };
}
