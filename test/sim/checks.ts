import type { Allocation } from '../../coordinator/model/allocation.js';
import { MAX_REJECTIONS } from '../../coordinator/model/rejection.js';
import type { AllocationId } from '../../shared/ids.js';
import { allocationIdOf } from '../../shared/ids.js';
import { fakeOutput } from '../fakes/fake-driver.js';
import { collectRecords, type Records, type TaskRecord } from './records.js';
import type { World } from './world.js';

/**
 * What must be true in the end, seen from outside: by the users who were answered, and by the machines on which
 * commands really started.
 */
export async function checkEnd(world: World): Promise<void> {
  const { jobs, tasks, allocations } = await collectRecords(world);
  checkAcknowledged(world, jobs);
  checkStartedAtMostOnce(world);
  for (const job of jobs.values()) {
    if (job.phase.kind !== 'finished') world.story.broken(`${job.id} is still ${job.phase.kind}`);
  }
  for (const record of tasks) checkTask(world, record);
  for (const allocation of allocations.values()) checkOutput(world, allocation);
  checkMachines(world);
}

/** Every machine in the cloud is one that the coordinator has, once; none is forgotten there. */
function checkMachines({ cloud, coordinator, story }: World): void {
  const owners = new Map<string, number>();
  for (const { instanceId, ref, state } of cloud.machines) {
    if (state === 'terminating') continue;
    owners.set(instanceId, (owners.get(instanceId) ?? 0) + 1);
    if (!coordinator.view?.instances.has(instanceId)) story.broken(`machine ${ref} (${instanceId}) has no owner`);
  }
  for (const [instanceId, count] of owners) if (count > 1) story.broken(`${instanceId} has ${count} machines`);
}

/** P1, P2: each key stands for one job, and none that was acknowledged is missing. */
function checkAcknowledged({ submissions, story }: World, jobs: Records['jobs']): void {
  for (const { jobId, key } of submissions) {
    if (jobId === undefined) story.broken(`${key} was never acknowledged`);
    else if (!jobs.has(jobId)) story.broken(`${jobId} was acknowledged and is lost`);
  }
  if (jobs.size !== submissions.length) story.broken(`${submissions.length} submissions made ${jobs.size} jobs`);
}

/** An allocation id is a fence: whatever was lost or told twice, its command starts once in the whole world. */
function checkStartedAtMostOnce(world: World): void {
  const started = new Set(world.agents.flatMap(({ machine }) => [...machine.startCounts.keys()]));
  for (const id of started) {
    const count = startsOf(world, id);
    if (count > 1) world.story.broken(`${id} was started ${count} times`);
  }
}

function checkTask(world: World, { job, step, task }: TaskRecord): void {
  if (task.phase.kind !== 'done') return;
  const { attempt, outcome } = task.phase;
  const idOf = (number: number): AllocationId =>
    allocationIdOf({ jobId: job.id, step: step.name, index: task.index, attempt: number });
  const starts = Array.from({ length: attempt }, (_, position) => startsOf(world, idOf(position + 1)));
  const startCount = starts.reduce((sum, count) => sum + count, 0);
  if (step.spec.retry.maxAttempts === 1 && startCount > 1) {
    world.story.broken(`${idOf(attempt)} had one attempt and was started ${startCount} times (P4)`);
  }
  const { on, maxAttempts } = step.spec.retry;
  const isRejected = outcome.kind === 'failed' && outcome.end.kind === 'rejected';
  if (isRejected && maxAttempts > 1 && on.includes('rejected') && attempt < MAX_REJECTIONS) {
    world.story.broken(`${idOf(attempt)} was given up for its nodes' trouble`);
  }
  if (outcome.kind !== 'succeeded') return;
  if (step.spec.env.SIM_EXIT !== '0')
    world.story.broken(`${idOf(attempt)} exits with ${step.spec.env.SIM_EXIT} and has succeeded`);
  if (startsOf(world, idOf(attempt)) !== 1) world.story.broken(`${idOf(attempt)} has succeeded and never ran`);
}

function startsOf({ agents }: World, id: AllocationId): number {
  let count = 0;
  for (const { machine } of agents) count += machine.startCounts.get(id) ?? 0;
  return count;
}

/** P9: the output of every attempt whose end was told is here, byte for byte. */
function checkOutput({ logs, story }: World, { id, phase, nodeId }: Allocation): void {
  if (story.nodesTakenAway.has(nodeId)) return;
  if (phase.kind !== 'ended' || phase.output === null) return;
  const kept = logs.bytesOf(id, 'stdout');
  const { stdoutBytes } = phase.output;
  const expected = fakeOutput(0, stdoutBytes);
  if (kept.length !== stdoutBytes || expected.some((byte, offset) => kept[offset] !== byte)) {
    story.broken(`${id} wrote ${stdoutBytes} bytes, ${kept.length} are here`);
  }
}
