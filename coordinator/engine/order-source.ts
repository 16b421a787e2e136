import { type AllocationId, type NodeId, parseAllocationId } from '../../shared/ids.js';
import { type ClusterView, stepOf } from '../model/state.js';
import { NO_SECRETS, type SecretSource } from './grants.js';
import type { EngineHandle } from './handle.js';
import { ordersOf } from './orders.js';

interface LiveEngine extends Pick<EngineHandle, 'read' | 'archive'> {
  readonly view: ClusterView;
}

/** The engine's state as the gateway asks for it. */
export function orderSource(engine: LiveEngine, secrets: SecretSource = NO_SECRETS) {
  return {
    ...ordersOf(engine.view, secrets),
    nodeOf: (id: AllocationId) => nodeOf(engine, id),
    logLimitMiBOf: (id: AllocationId) => logLimitMiBOf(engine, id),
  };
}

/** Also of an attempt that has left memory: its output may come late, and is still its node's to write. */
async function nodeOf(engine: LiveEngine, id: AllocationId): Promise<NodeId | undefined> {
  const allocation = engine.view.allocations.get(id);
  if (allocation) return allocation.nodeId;
  const ref = parseAllocationId(id);
  if (!ref) return undefined;
  // What has just left is in the archive once it is on disk.
  await engine.read(() => undefined);
  const [task] = await engine.archive.pastTasks(ref.jobId, ref.step, [ref.index]);
  return task?.allocations.find((past) => past.id === id)?.nodeId;
}

async function logLimitMiBOf(engine: LiveEngine, id: AllocationId): Promise<number | undefined> {
  const ref = parseAllocationId(id);
  if (!ref) return undefined;
  const step = stepOf(engine.view, ref);
  if (step) return step.spec.logLimitMiB;
  await engine.read(() => undefined);
  return (await engine.archive.pastJob(ref.jobId))?.steps.get(ref.step)?.spec.logLimitMiB;
}
