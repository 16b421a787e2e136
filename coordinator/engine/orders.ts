import { present } from '../../shared/assert.js';
import { type AllocationId, type NodeId, taskIdOf } from '../../shared/ids.js';
import { taskIndexesOf } from '../../shared/job-spec/task-indexes.js';
import { eachIndex } from '../../shared/ranges.js';
import { WHOLE_GPU_MILLIS } from '../../shared/resources.js';
import type { GangPlace, GpuPart, Held, Hello, StartOrder, StopOrder, Sync } from '../../shared/wire/messages.js';
import type { Allocation } from '../model/allocation.js';
import type { Step } from '../model/job.js';
import type { Node } from '../model/node.js';
import type { ClusterView } from '../model/state.js';
import { stepOf } from '../model/state.js';
import { grantsOf, NO_SECRETS, type SecretSource } from './grants.js';
import { inputOrders } from './input-orders.js';

/** The view put into the words of the wire, as the gateway asks for them. */
export function ordersOf(view: ClusterView, secrets: SecretSource = NO_SECRETS) {
  const source: Source = { view, secrets };
  return {
    startOrder: (id: AllocationId) => startOrder(source, id),
    stopOrder: (id: AllocationId) => stopOrder(view, id),
    closingOf: (nodeId: NodeId) => closingOf(view, nodeId),
    syncFor: (nodeId: NodeId, hello: Hello) => syncFor(source, nodeId, hello),
  };
}

interface Source {
  readonly view: ClusterView;
  readonly secrets: SecretSource;
}

/** What to tell an agent to start; undefined when the allocation is no longer to be started. */
function startOrder(source: Source, id: AllocationId): StartOrder | undefined {
  const allocation = source.view.allocations.get(id);
  return allocation?.phase.kind === 'committed' ? orderFor(source, allocation) : undefined;
}

/** The order again, for an agent that has not begun it and, restarted, has forgotten what it kept in memory only. */
function orderToRepeat(source: Source, { allocationId, phase }: Held): StartOrder | undefined {
  const allocation = phase === 'preparing' ? source.view.allocations.get(allocationId) : undefined;
  const order = allocation && orderFor(source, allocation);
  return order?.secrets || order?.registryAuth ? order : undefined;
}

/** What to tell an agent to stop: an allocation that is being stopped, or one that is not, or no longer, ours. */
function stopOrder(view: ClusterView, id: AllocationId): StopOrder | undefined {
  const phase = view.allocations.get(id)?.phase;
  if (phase === undefined || phase.kind === 'ended') return { allocationId: id, reason: 'stale' };
  return phase.kind === 'stopping' ? { allocationId: id, reason: phase.reason } : undefined;
}

/** The answer to an agent's hello: every allocation that it holds, or should hold, is named. */
function syncFor(source: Source, nodeId: NodeId, hello: Hello): Sync {
  const { view } = source;
  const live = view.index.usage(nodeId).live;
  const keep: AllocationId[] = [];
  const stop: StopOrder[] = [];
  const start: StartOrder[] = [];
  const forget: AllocationId[] = [];
  for (const entry of hello.held) {
    const { allocationId, phase } = entry;
    if (phase === 'ended') forget.push(allocationId);
    else if (live.has(allocationId) && view.allocations.get(allocationId)?.phase.kind !== 'stopping') {
      const order = orderToRepeat(source, entry);
      if (order) start.push(order);
      else keep.push(allocationId);
    } else {
      // It may be another node's, which is right to hold it.
      stop.push(stopOrder(view, allocationId) ?? { allocationId, reason: 'stale' });
    }
  }
  const held = new Set(hello.held.map((entry) => entry.allocationId));
  for (const id of live) {
    if (held.has(id)) continue;
    const order = startOrder(source, id);
    if (order) start.push(order);
    else if (view.allocations.get(id)?.phase.kind === 'stopping')
      stop.push(present(stopOrder(view, id), `stop order for ${id}`));
  }
  const closing = closingOf(view, nodeId);
  return { keep, stop, start, forget, ...(closing > 0 ? { closing } : {}) };
}

/** The number of the asking by which a node is to close; 0 when it is to be open. */
function closingOf(view: ClusterView, nodeId: NodeId): number {
  const id = view.index.instanceByNode.get(nodeId);
  const instance = id && view.instances.get(id);
  const isToClose = instance?.phase.kind === 'closing' || instance?.phase.kind === 'stopping';
  return isToClose ? instance.closingCount : 0;
}

function orderFor({ view, secrets }: Source, allocation: Allocation): StartOrder {
  const { ref, resources, nodeId } = allocation;
  const job = present(view.jobs.get(ref.jobId), `job ${ref.jobId}`);
  const step = present(stepOf(view, ref), `step of ${allocation.id}`);
  const node = present(view.nodes.get(nodeId), `node ${nodeId}`);
  const { driver, image, container, run, env, workdir, timeLimitMs, stop, checkpoint, outputs, volumes } = step.spec;
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
    ...(container === undefined ? {} : { container }),
    ...{ driver, image, run, env, workdir, resources, timeLimitMs, stop },
    ...(step.spec.resources.pinCpus ? { pinCpus: true } : {}),
    ...(step.spec.user === undefined ? {} : { user: step.spec.user }),
    gpus: node.inventory.gpus.filter((device) => allocation.gpus.includes(device.index)),
    gpuPart: partOf(allocation, node),
    ...(checkpoint === undefined ? {} : { checkpoint }),
    ...(step.spec.gang === undefined ? {} : { gang: gangPlace(view, step, ref.index) }),
    ...grantsOf(secrets, job.spec.namespace, step.spec),
    ...inputOrders(view, { job, step, index: ref.index }),
    ...(outputs === undefined ? {} : { outputs }),
    ...(volumes === undefined ? {} : { volumes }),
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
