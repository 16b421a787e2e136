import type { Clock, EpochMs } from '../../../shared/clock.js';
import type { NodeId } from '../../../shared/ids.js';
import type { Input } from '../../engine/inputs.js';
import { asHpcError, type HpcBackend } from '../backend.js';
import { expectChange, type MirrorResult } from '../mirror-policy.js';
import type { RemoteJob, RemoteTask } from '../remote-job.js';
import type { HpcTarget } from '../target.js';
import { conclude, isSettled, isWhole, type Remote, withSeenTasks } from '../witnesses.js';
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

type Take = (work: RemoteWork, result: MirrorResult) => Promise<void>;

/**
 * The states of all jobs, by one call. What it tells whole is taken at once, so that it costs the disk one write; for
 * the rest accounting is asked, by one call more, and where marks must be read, one job comes after the other.
 */
export async function lookAtAll(works: Works, backend: HpcBackend, take: Take, signal: AbortSignal): Promise<void> {
  const watched = new Map<string, RemoteWork>();
  for (const work of works.values()) {
    if (work.mirror.phase.kind === 'watching') watched.set(work.mirror.phase.remoteId, work);
  }
  try {
    const jobs = await backend.statusOf([...watched.keys()], signal);
    const taken: Promise<void>[] = [];
    const rest = new Map<string, Unsettled>();
    for (const [id, work] of watched) {
      const remote = remoteOf(work, backend);
      const seen = withSeenTasks(jobs.get(id), remote);
      if (isSettled(seen, remote)) taken.push(take(work, { kind: 'status', job: seen }));
      else rest.set(id, { work, seen });
    }
    await Promise.all(taken);
    if (rest.size > 0) await settle(rest, backend, take, signal);
  } catch (error) {
    signal.throwIfAborted();
    const { kind, message } = asHpcError(error, 'looking at jobs');
    for (const [remoteId, work] of watched) {
      await take(work, { kind: 'failed', step: { kind: 'poll', remoteId }, error: { kind, message } });
    }
  }
}

/** A job of which the controller does not tell all. */
interface Unsettled {
  readonly work: RemoteWork;
  readonly seen: RemoteJob | undefined;
}

async function settle(
  rest: ReadonlyMap<string, Unsettled>,
  backend: HpcBackend,
  take: Take,
  signal: AbortSignal,
): Promise<void> {
  let accounted: ReadonlyMap<string, RemoteJob> | undefined;
  try {
    const ids = [...rest].flatMap(([id, { work, seen }]) => (isWhole(seen, work.submission) ? [] : [id]));
    if (ids.length > 0) accounted = await backend.accounting?.endedOf(ids, signal);
  } catch (error) {
    signal.throwIfAborted();
    const { kind, message } = asHpcError(error, 'asking accounting');
    // Their trouble alone: what the controller tells of others is seen as ever.
    for (const { work, seen } of rest.values())
      await take(work, { kind: 'unsure', job: seen, error: { kind, message } });
    return;
  }
  for (const [id, { work, seen }] of rest) {
    const told = { seen, accounted: accounted?.get(id) };
    await take(work, { kind: 'status', job: await conclude(told, remoteOf(work, backend), signal) });
  }
}

function remoteOf({ submission, mirror }: RemoteWork, backend: HpcBackend): Remote {
  return { backend, submission, before: mirror.job };
}

/** What the engine is to know of a task since the last time; the member remembers that it was told. */
export function changesOf(work: RemoteWork, member: Member, at: { readonly nodeId: NodeId; now: EpochMs }): Input[] {
  const { allocationId, index } = member;
  const { job } = work.mirror;
  const task = job ? taskOf(job, index, isArray(work)) : undefined;
  const inputs: Input[] = [];
  if (!task) return inputs;
  const { nodes, requeueCount } = keptOf(task, member);
  if (nodes !== member.nodes || requeueCount !== member.requeueCount) {
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

/** Not all who tell of an end know where it ran, and how often it was put back. */
function keptOf(
  task: Pick<RemoteTask, 'state' | 'nodes' | 'requeueCount'>,
  member: Member,
): Pick<RemoteTask, 'nodes' | 'requeueCount'> {
  const nodes = task.state === 'ended' && task.nodes === '' ? member.nodes : task.nodes;
  return { nodes, requeueCount: Math.max(task.requeueCount, member.requeueCount) };
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
