import type { DemandClass } from '../../model/demand.js';
import { meetingOf } from '../../model/feasible.js';
import type { NodeClass } from '../../model/node.js';
import type { Waiting } from './places.js';

export interface Part {
  readonly waiting: readonly Waiting[];
  readonly classes: ReadonlySet<NodeClass>;
}

/**
 * Divides those who wait into parts that have nothing to do with each other: nobody of one could use a node of another.
 * Whoever could use no node at all is in none.
 *
 * Cost: O(waiting + demands x classes).
 */
export function partsOf(waiting: readonly Waiting[], classes: ReadonlySet<NodeClass>): readonly Part[] {
  const above = new Map<NodeClass, NodeClass>();
  const rootOf = (nodeClass: NodeClass): NodeClass => {
    let root = nodeClass;
    for (let next = above.get(root); next; next = above.get(root)) root = next;
    return root;
  };
  const placeOf = new Map<DemandClass, NodeClass | undefined>();
  for (const { demand } of waiting) {
    if (placeOf.has(demand)) continue;
    const [first, ...others] = [...classes].filter((nodeClass) => meetingOf(demand, nodeClass).couldHold);
    placeOf.set(demand, first);
    for (const other of others) {
      const [root, joined] = [rootOf(first as NodeClass), rootOf(other)];
      if (root !== joined) above.set(joined, root);
    }
  }
  const parts = new Map<NodeClass, { waiting: Waiting[]; classes: Set<NodeClass> }>();
  for (const task of waiting) {
    const place = placeOf.get(task.demand);
    if (!place) continue;
    const root = rootOf(place);
    const part = parts.get(root);
    if (part) part.waiting.push(task);
    else parts.set(root, { waiting: [task], classes: new Set() });
  }
  for (const nodeClass of classes) parts.get(rootOf(nodeClass))?.classes.add(nodeClass);
  return [...parts.values()];
}
