import type { AllocationId, NodeId } from '../../shared/ids.js';
import { allocationIdOf, taskIdOf } from '../../shared/ids.js';
import { rangesCount } from '../../shared/ranges.js';
import { addResources, fits, NO_RESOURCES, WHOLE_GPU_MILLIS } from '../../shared/resources.js';
import type { NamedAccountView } from './accounts.js';
import { allocationsOf, heldGpuMillis } from './allocation.js';
import { isRouted, type Job, NO_TASKS, type Step, type TaskCounts, unfinishedCount } from './job.js';
import type { ClusterView } from './state.js';

/**
 * Everything that must hold of the state at all times, recomputed from the records alone.
 *
 * @returns one sentence for each claim that does not hold; empty when all do
 * Cost: O(state). For tests, the simulator and `doctor`; never on the running path.
 */
export function violations(view: ClusterView): string[] {
  const found: string[] = [];
  const broken = (claim: string): void => void found.push(claim);
  checkNodes(view, broken);
  for (const job of view.jobs.values()) checkJob(view, job, broken);
  checkFinished(view, broken);
  checkQueue(view, broken);
  checkAccounts(view, broken);
  return found;
}

type Report = (claim: string) => void;

function checkNodes(view: ClusterView, broken: Report): void {
  const live = new Map<NodeId, AllocationId[]>();
  for (const allocation of view.allocations.values()) {
    if (allocation.phase.kind === 'ended') continue;
    live.set(allocation.nodeId, [...(live.get(allocation.nodeId) ?? []), allocation.id]);
    if (!view.nodes.has(allocation.nodeId)) broken(`${allocation.id} lives on unknown node ${allocation.nodeId}`);
  }
  for (const node of view.nodes.values()) checkNode(view, { nodeId: node.id, live: live.get(node.id) ?? [] }, broken);
}

function checkNode(view: ClusterView, held: { nodeId: NodeId; live: readonly AllocationId[] }, broken: Report): void {
  const { nodeId, live } = held;
  let used = NO_RESOURCES;
  const gpus = new Map<number, number>();
  for (const id of live) {
    const allocation = view.allocations.get(id);
    if (!allocation) continue;
    used = addResources(used, allocation.resources);
    for (const [position, gpu] of allocation.gpus.entries()) {
      gpus.set(gpu, (gpus.get(gpu) ?? 0) + heldGpuMillis(allocation, position));
    }
  }
  for (const [gpu, millis] of gpus) {
    if (millis > WHOLE_GPU_MILLIS) broken(`GPU ${gpu} of ${nodeId} is held to ${millis} thousandths`);
    if (view.index.usage(nodeId).gpuMillis.get(gpu) !== millis) broken(`use of GPU ${gpu} of ${nodeId} is out of date`);
  }
  const alone = live.find((id) => view.allocations.get(id)?.exclusive);
  if (alone && live.length > 1) broken(`${alone} has ${nodeId} to itself beside ${live.length - 1} others`);
  const usage = view.index.usage(nodeId);
  if (usage.isExclusive !== (alone !== undefined)) broken(`whether ${nodeId} is given away whole is out of date`);
  if (JSON.stringify(usage.used) !== JSON.stringify(used)) broken(`usage of ${nodeId} is out of date`);
  if (usage.gpuMillis.size !== gpus.size) broken(`GPUs in use of ${nodeId} are out of date`);
  if (usage.live.size !== live.length) broken(`live allocations of ${nodeId} are out of date`);
  const node = view.nodes.get(nodeId);
  if (node && !fits(used, node.inventory.capacity)) broken(`${nodeId} is oversubscribed`);
  if (node?.link.kind === 'lost' && live.length > 0) broken(`lost node ${nodeId} still holds ${live.join(', ')}`);
  if (node?.intake.kind === 'drained' && live.length > 0)
    broken(`drained node ${nodeId} still holds ${live.join(', ')}`);
}

function checkJob(view: ClusterView, job: Job, broken: Report): void {
  let unfinished = 0;
  for (const step of job.steps.values()) {
    checkStep(view, { job, step }, broken);
    unfinished += unfinishedCount(step.counts);
  }
  if (unfinished === 0 && job.phase.kind !== 'finished') broken(`${job.id} has no task left but is ${job.phase.kind}`);
  if (unfinished > 0 && job.phase.kind === 'finished') broken(`${job.id} is finished with ${unfinished} tasks left`);
}

function checkStep(view: ClusterView, { job, step }: { job: Job; step: Step }, broken: Report): void {
  const where = `${job.id}/${step.name}`;
  const counted = recount(step);
  if (JSON.stringify(counted) !== JSON.stringify(step.counts)) broken(`counts of ${where} are out of date`);
  const left = step.left ? OUTCOMES.reduce((sum, kind) => sum + rangesCount(step.left?.[kind] ?? []), 0) : 0;
  if (step.tasks.size + rangesCount(step.untouched) + left !== step.count) broken(`${where} has lost a task`);
  for (const task of step.tasks.values()) {
    const ref = { jobId: job.id, step: step.name, index: task.index };
    const attempts = task.phase.kind === 'blocked' ? 0 : task.phase.attempt;
    for (let attempt = 1; attempt <= attempts; attempt += 1) {
      const id = allocationIdOf({ ...ref, attempt });
      const isLive = view.allocations.get(id) !== undefined && view.allocations.get(id)?.phase.kind !== 'ended';
      const shouldLive = task.phase.kind === 'placed' && task.phase.allocationId === id;
      if (isLive === shouldLive || (shouldLive && isWaitingForPeers(view, step))) continue;
      broken(`${id} is ${isLive ? 'live' : 'not live'} while ${taskIdOf(ref)} is ${task.phase.kind}`);
    }
  }
}

/** A rank of a gang whose attempt has ended moves on when the last one has. */
function isWaitingForPeers(view: ClusterView, step: Step): boolean {
  return step.spec.gang !== undefined && liveCount(view, step) > 0;
}

function liveCount(view: ClusterView, step: Step): number {
  let count = 0;
  for (const { phase } of step.tasks.values()) {
    if (phase.kind !== 'placed') continue;
    if (view.allocations.get(phase.allocationId)?.phase.kind !== 'ended') count += 1;
  }
  return count;
}

function recount(step: Step): TaskCounts {
  const counts = { ...NO_TASKS };
  const untouched = rangesCount(step.untouched);
  if (step.swept) counts[step.swept.outcome.kind] += untouched;
  else counts[step.isReleased ? 'queued' : 'blocked'] += untouched;
  for (const kind of OUTCOMES) counts[kind] += rangesCount(step.left?.[kind] ?? []);
  for (const { phase } of step.tasks.values()) counts[phase.kind === 'done' ? phase.outcome.kind : phase.kind] += 1;
  return counts;
}

const OUTCOMES = ['succeeded', 'failed', 'canceled', 'dropped'] as const;

/** What is done is known to be so, or it would never leave memory; and what has left has left nothing behind. */
function checkFinished(view: ClusterView, broken: Report): void {
  let taskCount = 0;
  let jobCount = 0;
  let attemptCount = 0;
  for (const { id: jobId, phase: jobPhase, steps } of view.jobs.values()) {
    if (jobPhase.kind === 'finished') jobCount += 1;
    if ((jobPhase.kind === 'finished') !== view.finished.jobs.has(jobId)) broken(`${jobId} is not known to be done`);
    for (const { name, tasks, spec } of steps.values()) {
      // What leaves files goes with its job: they may be inputs of another step.
      const mayLeave = spec.outputs === undefined;
      for (const { index, phase } of tasks.values()) {
        const ref = { jobId, step: name, index };
        attemptCount += allocationsOf(view.allocations, ref, phase.kind === 'blocked' ? 0 : phase.attempt).length;
        if (phase.kind === 'done' && mayLeave) taskCount += 1;
        if (phase.kind === 'done' && mayLeave && !view.finished.tasks.has(taskIdOf(ref))) {
          broken(`${taskIdOf(ref)} cannot leave`);
        }
      }
    }
  }
  if (view.finished.jobs.size !== jobCount) broken('finished jobs are out of date');
  if (view.finished.tasks.size !== taskCount) broken('done tasks are out of date');
  if (view.allocations.size !== attemptCount) broken(`${view.allocations.size - attemptCount} attempts have no task`);
}

function checkQueue(view: ClusterView, broken: Report): void {
  const expected: string[] = [];
  let waiting = 0;
  for (const job of view.jobs.values()) {
    for (const step of job.steps.values()) {
      waiting += step.counts.blocked + step.counts.queued;
      const retries = [...step.tasks.values()].filter((task) => task.phase.kind === 'queued').map((task) => task.index);
      if (job.phase.kind === 'active' && step.isReleased && step.counts.queued > 0 && isRouted(step)) {
        expected.push(`${job.id}/${step.name}:${retries.sort((left, right) => left - right).join()}`);
      }
    }
  }
  const actual = [...view.index.ready].map(
    (entry) => `${entry.jobId}/${entry.step}:${[...entry.retries].sort((left, right) => left - right).join()}`,
  );
  if (expected.sort().join(' ') !== actual.sort().join(' ')) broken(`the queue is ${actual} instead of ${expected}`);
  if (waiting !== view.index.waitingCount) broken(`${waiting} tasks wait, the index says ${view.index.waitingCount}`);
}

/** Quotas and fair shares are only as good as these sums. */
function checkAccounts(view: ClusterView, broken: Report): void {
  const { accounts } = view.index;
  const sums = new Map<string, { readonly account: NamedAccountView; running: number; waiting: number }>();
  const licences = new Map<string, number>();
  for (const { spec, steps } of view.jobs.values()) {
    const owners = [
      [`namespace ${spec.namespace}`, accounts.namespace(spec.namespace)],
      [`jobs ${spec.name} of ${spec.namespace}`, accounts.named(spec.namespace, spec.name)],
    ] as const;
    for (const step of steps.values()) {
      const live = liveCount(view, step);
      for (const [owner, account] of owners) {
        const sum = sums.get(owner) ?? { account, running: 0, waiting: 0 };
        sums.set(owner, sum);
        sum.running += live;
        sum.waiting += step.counts.blocked + step.counts.queued;
      }
      for (const [name, count] of Object.entries(step.spec.resources.licences ?? {}))
        licences.set(name, (licences.get(name) ?? 0) + count * live);
    }
  }
  for (const [owner, { account, running, waiting }] of sums) {
    if (account.running.taskCount !== running) broken(`tasks that ${owner} run are out of date`);
    if (account.waitingCount !== waiting) broken(`tasks that wait in ${owner} are out of date`);
  }
  for (const [name, count] of licences)
    if (accounts.licencesHeld(name) !== count) broken(`held licences ${name} are out of date`);
}
