import { type Clock, sleep } from '../../../shared/clock.js';
import type { Gate } from '../../../shared/gate.js';
import type { Log } from '../../../shared/log.js';
import type { ReportedEnd } from '../../../shared/wire/messages.js';
import { asHpcError, type RemoteFiles } from '../backend.js';
import type { MirrorOutcome } from '../mirror.js';
import { removeSecrets } from '../secret-files.js';
import { WORKSPACES_FOLDER } from '../submission.js';
import type { HpcTarget } from '../target.js';
import { endOf } from './ends.js';
import type { Output } from './output.js';
import type { Member, RemoteWork } from './remote-work.js';
import { type Carrier, type Fetched, stageOut } from './staging.js';

export interface Finishing {
  readonly work: RemoteWork;
  readonly member: Member;
  readonly outcome: MirrorOutcome;
}

export interface FinishMeans {
  readonly output: Output;
  readonly carrier: Carrier;
  /** So many bring their files at once; one that waits for its site stands aside. */
  readonly gate: Gate;
  readonly clock: Clock;
  readonly log: Log;
}

/** The task has ended, and its end can wait for its files: a site may be away for hours. */
const MAX_TRIES = 200;
const FIRST_PAUSE_MS = 1_000;
const MAX_PAUSE_MS = 60_000;
const MAX_DOUBLINGS = 6;

/** Brings over what an ended task left, and says how it ended. Never rejects, unless the signal aborts. */
export async function finish(
  { work, member, outcome }: Finishing,
  means: FinishMeans,
  signal: AbortSignal,
): Promise<ReportedEnd> {
  const ranMs = member.startedAt === null ? 0 : Math.max(0, means.clock.now() - member.startedAt);
  let fetched: Fetched | undefined;
  let trouble: string | undefined;
  for (let count = 0; count < MAX_TRIES; count += 1) {
    try {
      fetched = await means.gate.pass(() => bring({ work, member, outcome }, means, signal));
      trouble = undefined;
      break;
    } catch (error) {
      signal.throwIfAborted();
      trouble = asHpcError(error, 'its files').message;
      means.log.warn('files of a remote task cannot be had now', {
        allocationId: member.allocationId,
        reason: trouble,
      });
      await sleep(means.clock, Math.min(MAX_PAUSE_MS, FIRST_PAUSE_MS * 2 ** Math.min(count, MAX_DOUBLINGS)));
    }
  }
  const end = endOf(outcome, { stopReason: member.stopReason, ranMs });
  const lacking = trouble ?? (fetched?.missing.length ? `left no ${fetched.missing.join(', ')}` : undefined);
  return {
    end: outcome.kind === 'completed' && lacking ? { kind: 'outputs-failed', message: lacking, ranMs } : end,
    stdoutBytes: member.kept.stdout ?? 0,
    stderrBytes: member.kept.stderr ?? 0,
    ...(fetched ? { staging: fetched.record } : {}),
  };
}

export interface RemovalMeans {
  readonly files: RemoteFiles;
  readonly target: HpcTarget;
  readonly log: Log;
}

/** The work directory of a job goes with the end of its last task, unless it is to be kept. */
export async function removeFiles(
  { submission: { work }, hasFailed }: RemoteWork,
  { files, target, log }: RemovalMeans,
  signal: AbortSignal,
): Promise<void> {
  if (target.keep === 'always' || (target.keep === 'failed' && hasFailed)) return;
  await files.remove(work, signal).catch((error: unknown) => log.warn('a work directory stays', { work, error }));
}

async function bring(
  { work, member, outcome }: Finishing,
  { output, carrier }: FinishMeans,
  signal: AbortSignal,
): Promise<Fetched | undefined> {
  // No task of it can begin any more; of an array this comes with the last one.
  const isOver = work.mirror.phase.kind === 'ended';
  if (isOver && work.secrets().length > 0) await removeSecrets(carrier.files, work.submission, signal);
  if (outcome.kind === 'refused') {
    await output.close(work, member, 'stdout');
    await output.close(work, member, 'stderr');
    return undefined;
  }
  await output.finish(work, member, signal);
  const workspace = `${work.submission.work}/${WORKSPACES_FOLDER}/${member.index}`;
  return stageOut(carrier, { workspace, outputs: work.outputs }, signal);
}
