import { present } from '../../shared/assert.js';
import { type AllocationId, type NodeId, taskIdOf } from '../../shared/ids.js';
import { taskIndexesOf } from '../../shared/job-spec/task-indexes.js';
import { eachIndex } from '../../shared/ranges.js';
import { WHOLE_GPU_MILLIS } from '../../shared/resources.js';
import type { GangPlace, GpuPart, Hello, StartOrder, StopOrder, Sync } from '../../shared/wire/messages.js';
import type { Allocation } from '../model/allocation.js';
import type { Step } from '../model/job.js';
import type { Node } from '../model/node.js';
import type { ClusterView } from '../model/state.js';
import { stepOf } from '../model/state.js';

/** The view put into the words of the wire, as the gateway asks for them. */
export function ordersOf(view: ClusterView) {
  return {
    startOrder: (id: AllocationId) => startOrder(view, id),
    stopOrder: (id: AllocationId) => stopOrder(view, id),
    nodeOf: (id: AllocationId) => view.allocations.get(id)?.nodeId,
    syncFor: (nodeId: NodeId, hello: Hello) => syncFor(view, nodeId, hello),
  };
}

/** What to tell an agent to start; undefined when the allocation is no longer to be started. */
function startOrder(view: ClusterView, id: AllocationId): StartOrder | undefined {
  const allocation = view.allocations.get(id);
  return allocation?.phase.kind === 'committed' ? orderFor(view, allocation) : undefined;
}

/** What to tell an agent to stop: an allocation that is being stopped, or one that is not, or no longer, ours. */
function stopOrder(view: ClusterView, id: AllocationId): StopOrder | undefined {
  const phase = view.allocations.get(id)?.phase;
  if (phase === undefined || phase.kind === 'ended') return { allocationId: id, reason: 'stale' };
  return phase.kind === 'stopping' ? { allocationId: id, reason: phase.reason } : undefined;
}

/** The answer to an agent's hello: every allocation that it holds, or should hold, is named. */
function syncFor(view: ClusterView, nodeId: NodeId, hello: Hello): Sync {
  const live = view.index.usage(nodeId).live;
  const keep: AllocationId[] = [];
  const stop: StopOrder[] = [];
  const forget: AllocationId[] = [];
  for (const { allocationId, phase } of hello.held) {
    if (phase === 'ended') forget.push(allocationId);
    else if (live.has(allocationId) && view.allocations.get(allocationId)?.phase.kind !== 'stopping')
      keep.push(allocationId);
    else stop.push(present(stopOrder(view, allocationId), `stop order for ${allocationId}`));
  }
  const held = new Set(hello.held.map((entry) => entry.allocationId));
  const start: StartOrder[] = [];
  for (const id of live) {
    if (held.has(id)) continue;
    const order = startOrder(view, id);
    if (order) start.push(order);
    else if (view.allocations.get(id)?.phase.kind === 'stopping')
      stop.push(present(stopOrder(view, id), `stop order for ${id}`));
  }
  return { keep, stop, start, forget };
}

function orderFor(view: ClusterView, allocation: Allocation): StartOrder {
  const { ref, resources, nodeId } = allocation;
  const job = present(view.jobs.get(ref.jobId), `job ${ref.jobId}`);
  const step = present(stepOf(view, ref), `step of ${allocation.id}`);
  const node = present(view.nodes.get(nodeId), `node ${nodeId}`);
  const { driver, image, run, env, workdir, timeLimitMs, stop, checkpoint } = step.spec;
  return {
    allocationId: allocation.id,
    jobId: job.id,
    taskId: taskIdOf(ref),
    jobName: job.spec.name,
    namespace: job.spec.namespace,
    step: step.name,
    index: ref.index,
    attempt: ref.attempt,
    taskCount: step.count,
    ...{ driver, image, run, env, workdir, resources, timeLimitMs, stop },
    gpus: node.inventory.gpus.filter((device) => allocation.gpus.includes(device.index)),
    gpuPart: partOf(allocation, node),
    ...(checkpoint === undefined ? {} : { checkpoint }),
    ...(step.spec.gang === undefined ? {} : { gang: gangPlace(view, step, ref.index) }),
  };
}

/** All ranks of a round are committed together, so that each one's node is known when the first is ordered. */
function gangPlace(view: ClusterView, step: Step, index: number): GangPlace {
  const peers: string[] = [];
  let rank = 0;
  for (const each of eachIndex(taskIndexesOf(step.spec))) {
    if (each < index) rank += 1;
    const phase = step.tasks.get(each)?.phase;
    const allocation = phase?.kind === 'placed' ? view.allocations.get(phase.allocationId) : undefined;
    peers.push((allocation && view.nodes.get(allocation.nodeId)?.inventory.address) ?? '');
  }
  return { rank, size: step.count, peers };
}

/** The smallest part that the attempt holds of any of its devices; null when they are its alone. */
function partOf({ gpus, gpuMillis }: Allocation, { inventory }: Node): GpuPart | null {
  if (gpuMillis === undefined) return null;
  let part: GpuPart | null = null;
  for (const [position, index] of gpus.entries()) {
    const shareMillis = gpuMillis[position] ?? WHOLE_GPU_MILLIS;
    const memoryMiB = inventory.gpus.find((device) => device.index === index)?.memoryMiB ?? 0;
    if (part !== null && part.shareMillis <= shareMillis) continue;
    part = { shareMillis, memoryMiB: Math.floor((memoryMiB * shareMillis) / WHOLE_GPU_MILLIS) };
  }
  return part;
}
