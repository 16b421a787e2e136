import { assert, present } from '../../shared/assert.js';
import type { EpochMs } from '../../shared/clock.js';
import { type AllocationId, parseAllocationId } from '../../shared/ids.js';
import type { AllocationEnd } from '../../shared/outcome.js';
import { without } from '../../shared/ranges.js';
import { gpuMillisOn, gpuWorthMillis } from '../../shared/resources.js';
import { ALLOCATION_TRANSITIONS, type Allocation, type AllocationPhase } from './allocation.js';
import { nodeIdle, nodeServed } from './apply-instance.js';
import { find, moved, putTask, replaceStep } from './apply-job.js';
import type { DemandClass } from './demand.js';
import type { EventOf } from './events.js';
import { resourcesOn } from './hold.js';
import type { Node } from './node.js';
import { nodeShare } from './node-share.js';
import { type ClusterState, stepOf } from './state.js';
import { step as transition } from './transition.js';

/** A task takes its place on a node; it leaves the queue. */
export function allocationCommitted(state: ClusterState, event: EventOf<'allocation.committed'>, at: EpochMs): void {
  const { allocationId, nodeId, gpus } = event;
  const ref = present(parseAllocationId(allocationId), 'allocation id');
  const { job, step } = find(state, ref);
  const task = step.tasks.get(ref.index);
  assert(task === undefined || task.phase.kind === 'queued', `${allocationId} is committed while ${task?.phase.kind}`);
  const node = present(state.nodes.get(nodeId), `node ${nodeId}`);
  const held: Allocation = {
    id: allocationId,
    ref,
    nodeId,
    resources: resourcesOn(step.demand, node.inventory.capacity),
    ...(step.demand.exclusive ? { exclusive: true } : {}),
    gpus,
    ...sharesOf(node, gpus, step.demand),
    ...slicesOf(node, gpus),
    committedAt: at,
    phase: { kind: 'committed' },
  };
  const allocation = { ...held, ...paidShareOf(state, held, node) };
  assert(!state.allocations.has(allocationId), `${allocationId} is committed twice`);
  state.allocations.set(allocationId, allocation);
  putTask(step, {
    ...(task ?? { index: ref.index, spentAttempts: 0 }),
    phase: { kind: 'placed', attempt: ref.attempt, allocationId },
  });
  const untouched = task ? step.untouched : without(step.untouched, ref.index);
  const next = replaceStep(state, job, { ...step, untouched, counts: moved(step.counts, 'queued', 'placed') });
  state.index.waitingChanged(job, -1);
  state.index.taskTaken(job, next, ref.index);
  state.index.allocationBegan(allocation);
  state.index.accounts.held({ job, step, allocation }, 1, at);
}

/** What is held of each device, when that is not the whole of it: as the node has the device at this moment. */
function sharesOf(
  { id, inventory }: Node,
  gpus: readonly number[],
  { gpus: demand }: DemandClass,
): Pick<Allocation, 'gpuMillis'> {
  if (demand === null || (demand.shareMillis ?? demand.memoryMiB) === undefined) return {};
  const gpuMillis = gpus.map((index) => {
    const device = inventory.gpus.find((each) => each.index === index);
    return gpuMillisOn(present(device, `GPU ${index} of ${id}`), demand);
  });
  return { gpuMillis };
}

function slicesOf({ inventory }: Node, gpus: readonly number[]): Pick<Allocation, 'countedMillis'> {
  if (gpus.length === 0) return {};
  const held = inventory.gpus.filter(({ index }) => gpus.includes(index));
  if (held.every(({ mig }) => mig === undefined)) return {};
  return { countedMillis: held.reduce((sum, device) => sum + gpuWorthMillis(device), 0) };
}

/** A node of an exclusive pool is one task's, whatever it asked for. */
function paidShareOf(
  state: ClusterState,
  allocation: Allocation,
  { id, inventory }: Node,
): Pick<Allocation, 'nodeShare'> {
  const machine = state.index.instanceByNode.get(id);
  const pool = machine && state.instances.get(machine)?.pool;
  if (pool === undefined) return {};
  return { nodeShare: state.pools.get(pool)?.spec.exclusive ? 1 : nodeShare(allocation, inventory) };
}

export function allocationPreparing(state: ClusterState, event: EventOf<'allocation.preparing'>, at: EpochMs): void {
  change(state, event.allocationId, { kind: 'preparing', since: at });
}

export function allocationStarted(state: ClusterState, event: EventOf<'allocation.started'>, at: EpochMs): void {
  const { allocationId, startedAt } = event;
  noteStart(state, change(state, allocationId, { kind: 'running', since: at }), startedAt);
}

export function allocationStopRequested(
  state: ClusterState,
  event: EventOf<'allocation.stopRequested'>,
  at: EpochMs,
): void {
  const { allocationId, reason, for: jobId } = event;
  const phase = { kind: 'stopping', since: at, reason, ...(jobId === undefined ? {} : { for: jobId }) } as const;
  const allocation = change(state, allocationId, phase);
  state.index.accounts.ending(allocation);
}

export function allocationEnded(state: ClusterState, event: EventOf<'allocation.ended'>, at: EpochMs): void {
  const { allocationId, end, output, usage, image, staging } = event;
  const details = {
    ...(usage === undefined ? {} : { usage }),
    ...(image === undefined ? {} : { image }),
    ...(staging === undefined ? {} : { staging }),
  };
  const allocation = change(state, allocationId, { kind: 'ended', at, end, output, ...details });
  // A short command's end may arrive without word of its start.
  if (allocation.startedAt === undefined && hasRun(end)) noteStart(state, allocation, at - end.ranMs);
  learn(state, allocation, end);
  state.index.allocationEnded(allocation);
  nodeServed(state, allocation, at);
  if (state.index.usage(allocation.nodeId).live.size === 0) nodeIdle(state, allocation.nodeId, at);
  state.index.accounts.held({ ...find(state, allocation.ref), allocation }, -1, at);
}

/** What a command that failed early or was stopped has run says nothing of the next one. */
function learn(state: ClusterState, { ref }: Allocation, end: AllocationEnd): void {
  const step = stepOf(state, ref);
  const name = state.jobs.get(ref.jobId)?.spec.name;
  if (state.pools.size === 0 || end.kind !== 'exited' || end.exitCode !== 0 || !step || name === undefined) return;
  state.index.experience.ran(step.demand, name, end.ranMs);
}

type EndOfCommand = Extract<AllocationEnd, { readonly ranMs: number }>;

function hasRun(end: AllocationEnd): end is EndOfCommand {
  return 'ranMs' in end && (end.kind !== 'stopped' || end.ranMs > 0);
}

function noteStart(state: ClusterState, allocation: Allocation, startedAt: EpochMs): void {
  state.allocations.set(allocation.id, { ...allocation, startedAt });
  const { nodeId, committedAt, mirror } = allocation;
  if (mirror) state.index.experience.queued(nodeId, Math.max(0, startedAt - committedAt));
  const job = present(state.jobs.get(allocation.ref.jobId), `job ${allocation.ref.jobId}`);
  if (job.startedAt === undefined) state.jobs.set(job.id, { ...job, startedAt });
}

function change(state: ClusterState, id: AllocationId, phase: AllocationPhase): Allocation {
  const before = present(state.allocations.get(id), `allocation ${id}`);
  const after: Allocation = { ...before, phase: transition(ALLOCATION_TRANSITIONS, before.phase, phase) };
  state.allocations.set(id, after);
  return after;
}
