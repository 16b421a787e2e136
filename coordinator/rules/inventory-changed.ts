import { isDeepEqual } from '../../shared/equal.js';
import { done, type Rule } from './rule.js';

/**
 * A node offers something else from now on: a GPU has failed, recovered, or been divided anew.
 *
 * Nothing that runs is touched, not even on a device that has failed: whether its work is lost is for the work to say.
 */
export const inventoryChanged: Rule<'inventoryChanged'> = (view, { nodeId, inventory }) => {
  const node = view.nodes.get(nodeId);
  if (!node || isDeepEqual(node.inventory, inventory)) return done();
  const { identity, version, bootId } = node;
  return done({ type: 'node.registered', nodeId, identity, version, bootId, inventory });
};
