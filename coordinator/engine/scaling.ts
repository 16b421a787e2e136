import { assertNever } from '../../shared/assert.js';
import { instanceIdOf, type NodeId } from '../../shared/ids.js';
import type { ElasticDecision } from '../elastic/policy/decision.js';
import type { BerthEvent } from '../model/events.js';
import type { ClusterView } from '../model/state.js';

/** What the elastic policy has decided, as the fact that it becomes. */
export function scalingEvent(view: ClusterView, decision: ElasticDecision): BerthEvent {
  switch (decision.kind) {
    case 'request': {
      const sequence = view.nextInstanceSequence;
      const { pool, why } = decision;
      // A name is never used twice: a machine that comes late can be mistaken for no other.
      const nodeId = `${pool}-${sequence}` as NodeId;
      return { type: 'instance.requested', instanceId: instanceIdOf(sequence), sequence, pool, nodeId, why };
    }
    case 'resume':
      return { type: 'instance.resuming', instanceId: decision.instanceId, why: decision.why };
    case 'close': {
      const { instanceId, to, reason } = decision;
      return { type: 'instance.closing', instanceId, to, reason };
    }
    case 'reopen':
      return { type: 'instance.reopened', instanceId: decision.instanceId, why: decision.why };
    default:
      return assertNever(decision, 'elastic decision');
  }
}
