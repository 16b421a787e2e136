import type { DemandClass } from '../model/demand.js';
import { slotsOnEmpty } from '../model/feasible.js';
import type { ClusterView } from '../model/state.js';
import { explainCapacity } from './explain-capacity.js';
import { slotsIn } from './outlook.js';
import { roomOf } from './room.js';
import { isUsable } from './slot.js';
import type { WaitReason } from './wait-reason.js';

/** Which nodes keep a task, or the ranks of a gang, waiting. Cost: O(nodes), for a gang times its ranks. */
export function explainRoom(view: ClusterView, demand: DemandClass): WaitReason {
  const { gangSize = 1 } = demand;
  if (gangSize === 1) return explainCapacity(view, demand);
  let fitting = 0;
  let possible = 0;
  for (const node of view.nodes.values()) {
    if (!isUsable(node)) continue;
    fitting += slotsIn(roomOf(view, node), demand, gangSize);
    possible += slotsOnEmpty(demand, node.nodeClass);
  }
  if (fitting >= gangSize) return { code: 'starting', message: `its ${gangSize} ranks are being placed` };
  const ofOne = explainCapacity(view, demand);
  if (possible === 0) return ofOne;
  const numbers = { ranks: gangSize, fitting, possible };
  if (possible < gangSize) {
    const message = `needs room for ${gangSize} ranks at once; the nodes that are open hold ${possible} even when empty`;
    return { code: 'unavailable', message, details: { ...ofOne.details, ...numbers } };
  }
  const short = ofOne.code === 'starting' ? '' : `; the next one ${ofOne.message}`;
  const message = `needs room for ${gangSize} ranks at once, ${fitting} would fit now${short}`;
  return { code: 'capacity', message, details: { ...ofOne.details, ...numbers } };
}
