import type { Clock, EpochMs } from '../../../shared/clock.js';
import type { NodeId } from '../../../shared/ids.js';
import type { Input } from '../../engine/inputs.js';
import { asHpcError, type HpcBackend } from '../backend.js';
import { expectChange, type MirrorResult } from '../mirror-policy.js';
import { isWhole, judge } from '../perform-step.js';
import type { HpcTarget } from '../target.js';
import { taskOf } from './ends.js';
import type { Output } from './output.js';
import { isArray, type Member, type RemoteWork } from './remote-work.js';
import type { Works } from './works.js';

export const FOLLOW_LIMITS = {
  /** Running tasks whose output is followed between two looks. */
  tasksPerRound: 16,
  /** A cancellation of one task of an array is repeated after this. */
  cancelAgainMs: 10_000,
} as const;

/**
 * The states of all jobs, by one call. What it tells whole is taken at once, so that it costs the disk one write; where
 * marks must be read, one job comes after the other.
 */
export async function lookAtAll(
  works: Works,
  backend: HpcBackend,
  take: (work: RemoteWork, result: MirrorResult) => Promise<void>,
  signal: AbortSignal,
): Promise<void> {
  const watched = new Map<string, RemoteWork>();
  for (const work of works.values()) {
    if (work.mirror.phase.kind === 'watching') watched.set(work.mirror.phase.remoteId, work);
  }
  try {
    const jobs = await backend.statusOf([...watched.keys()], signal);
    const taken: Promise<void>[] = [];
    for (const [id, work] of watched) {
      const job = jobs.get(id);
      if (isWhole(job, work.submission)) taken.push(take(work, { kind: 'status', job }));
    }
    await Promise.all(taken);
    for (const [id, work] of watched) {
      const job = jobs.get(id);
      if (isWhole(job, work.submission)) continue;
      const remote = { backend, submission: work.submission, before: work.mirror.job };
      await take(work, { kind: 'status', job: await judge(job, remote, signal) });
    }
  } catch (error) {
    signal.throwIfAborted();
    const { kind, message } = asHpcError(error, 'looking at jobs');
    for (const [remoteId, work] of watched) {
      await take(work, { kind: 'failed', step: { kind: 'poll', remoteId }, error: { kind, message } });
    }
  }
}

/** What the engine is to know of a task since the last time; the member remembers that it was told. */
export function changesOf(work: RemoteWork, member: Member, at: { readonly nodeId: NodeId; now: EpochMs }): Input[] {
  const { allocationId, index } = member;
  const { job } = work.mirror;
  const task = job ? taskOf(job, index, isArray(work)) : undefined;
  const inputs: Input[] = [];
  if (!task) return inputs;
  if (task.nodes !== member.nodes || task.requeueCount !== member.requeueCount) {
    const { nodes, requeueCount } = task;
    Object.assign(member, { nodes, requeueCount });
    inputs.push({ type: 'mirrorMoved', allocationId, nodes, requeueCount });
  }
  if (member.startedAt === null && (task.state === 'running' || task.state === 'completing')) {
    member.startedAt = at.now;
    const report = { allocationId, phase: 'running', ageMs: 0 } as const;
    inputs.push({ type: 'agentReported', nodeId: at.nodeId, report });
  }
  return inputs;
}

/** A task that is to go while others of its array stay. */
export interface TaskToCancel {
  readonly work: RemoteWork;
  readonly remoteId: string;
  readonly member: Member;
}

/** Those whose time it is; each is asked again until it has ended. */
export function tasksToCancel(works: Works, now: EpochMs): readonly TaskToCancel[] {
  const tasks: TaskToCancel[] = [];
  for (const work of works.values()) {
    const { phase, cancel } = work.mirror;
    if (phase.kind !== 'watching' || cancel || !isArray(work)) continue;
    for (const member of work.members.values()) {
      if (member.stopReason === null || member.isFinishing || now < member.cancelAt) continue;
      tasks.push({ work, remoteId: phase.remoteId, member });
    }
  }
  return tasks;
}

export interface CancelMeans {
  readonly backend: HpcBackend;
  readonly target: HpcTarget;
  readonly clock: Clock;
}

/** What stands in the way shows at the next look. */
export async function cancelTasks(
  tasks: readonly TaskToCancel[],
  { backend, target, clock }: CancelMeans,
  signal: AbortSignal,
): Promise<void> {
  for (const { work, remoteId, member } of tasks) {
    member.cancelAt = clock.now() + FOLLOW_LIMITS.cancelAgainMs;
    const id = `${remoteId}${target.backend === 'sge' ? '.' : '_'}${member.index}`;
    await backend.cancel(id, signal).catch(() => {});
    work.mirror = expectChange(work.mirror, { now: clock.now(), period: target.period });
  }
}

/** Some of what running tasks have written since, those first that were not looked at for longest. */
export async function followOutput(works: Works, output: Output, signal: AbortSignal): Promise<void> {
  let count = 0;
  for (const work of [...works.values()]) {
    if (count >= FOLLOW_LIMITS.tasksPerRound) return;
    works.moveBack(work);
    for (const member of [...work.members.values()]) {
      if (member.startedAt === null || member.isFinishing || count >= FOLLOW_LIMITS.tasksPerRound) continue;
      count += 1;
      work.members.delete(member.index);
      work.members.set(member.index, member);
      // What cannot be read now is read the next time; the job's state tells of lasting trouble.
      await output.follow(work, member, signal).catch(() => {});
    }
  }
}
