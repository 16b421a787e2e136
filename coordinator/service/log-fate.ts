import type { AllocationRef, NodeId } from '../../shared/ids.js';
import { allocationIdOf } from '../../shared/ids.js';
import type { LogStream } from '../../shared/wire/messages.js';
import type { ClusterView } from '../model/state.js';
import { lookAtRef, type TaskSeen } from './look.js';
import type { Service } from './service.js';

/** After an attempt's end its node may still be sending; this long without a byte, it is not expected to any more. */
const MAX_SILENCE_AFTER_END_MS = 10 * 60 * 1000;

export interface StreamRef {
  readonly ref: AllocationRef;
  readonly stream: LogStream;
}

/**
 * True when nothing more is to be expected of the stream: it is complete, empty, or its node is gone.
 *
 * @param quietMs  how long nothing of it has arrived
 * Read once more after it turned true: what was written before is all there is.
 */
export async function isSettled(service: Service, { ref, stream }: StreamRef, quietMs: number): Promise<boolean> {
  if (await service.logs.isComplete(ref, stream)) return true;
  const expected = await lookAtRef(service, ref, (view, seen) => expectedBytes({ view, seen }, ref, stream));
  if (expected.kind === 'unknown') return false;
  if (expected.kind === 'none') return true;
  if (quietMs >= MAX_SILENCE_AFTER_END_MS) return true;
  return (await service.logs.size(ref, stream)) >= expected.bytes;
}

/**
 * Bytes that an ended attempt wrote and that are not here: dropped beyond the limit of a stream, lost with their node,
 * or still on their way. 0 while it runs, and when nobody knows what it wrote.
 */
export async function missingBytes(service: Service, { ref, stream }: StreamRef): Promise<number> {
  const output = await lookAtRef(service, ref, (_view, { attempts }) => {
    const phase = attempts.get(allocationIdOf(ref))?.phase;
    return phase?.kind === 'ended' ? phase.output : null;
  });
  if (output === null) return 0;
  const wrote = stream === 'stdout' ? output.stdoutBytes : output.stderrBytes;
  return wrote === 0 ? 0 : Math.max(0, wrote - (await service.logs.size(ref, stream)));
}

type Expected =
  | { readonly kind: 'unknown' }
  | { readonly kind: 'none' }
  | { readonly kind: 'bytes'; readonly bytes: number };

interface Looked {
  readonly view: ClusterView;
  readonly seen: TaskSeen;
}

function expectedBytes({ view, seen }: Looked, ref: AllocationRef, stream: LogStream): Expected {
  const allocation = seen.attempts.get(allocationIdOf(ref));
  if (!allocation) return willNeverBe(seen, ref) ? { kind: 'none' } : { kind: 'unknown' };
  if (allocation.phase.kind !== 'ended') return { kind: 'unknown' };
  const { output } = allocation.phase;
  if (output === null || isGone(view, allocation.nodeId)) return { kind: 'none' };
  return { kind: 'bytes', bytes: stream === 'stdout' ? output.stdoutBytes : output.stderrBytes };
}

/** True when the task is done without the attempt, or past it. */
function willNeverBe({ phase }: TaskSeen, ref: AllocationRef): boolean {
  if (!phase || phase.kind === 'done') return true;
  return phase.kind !== 'blocked' && phase.attempt > ref.attempt;
}

function isGone(view: ClusterView, nodeId: NodeId): boolean {
  const link = view.nodes.get(nodeId)?.link.kind;
  return link === undefined || link === 'lost' || link === 'departed';
}
