import type { AllocationId, JobId } from '../../shared/ids.js';
import type { ClusterView } from '../model/state.js';
import type { WaitReason } from './wait-reason.js';

/** How many of the attempts the message names. */
const SHOWN = 3;

/** What is being stopped to make room for the job; undefined when nothing is. Cost: O(nodes + attempts that are ending). */
export function explainPreemption(view: ClusterView, jobId: JobId): WaitReason | undefined {
  const found: AllocationId[] = [];
  for (const nodeId of view.nodes.keys()) {
    for (const id of view.index.accounts.endingOn(nodeId)) {
      const phase = view.allocations.get(id)?.phase;
      if (phase?.kind === 'stopping' && phase.for === jobId) found.push(id);
    }
  }
  if (found.length === 0) return undefined;
  const more = found.length > SHOWN ? ` and ${found.length - SHOWN} more` : '';
  return {
    code: 'preempting',
    message: `waits for ${found.slice(0, SHOWN).join(', ')}${more}, of lower priority, to stop for it`,
    details: { allocations: found },
  };
}
