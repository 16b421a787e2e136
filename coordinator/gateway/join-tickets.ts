import { createHmac, timingSafeEqual } from 'node:crypto';
import { NAME, type NodeId } from '../../shared/ids.js';

const PREFIX = 'berth_node_';

/**
 * Join tokens that are good for one node each, made from a key instead of being kept.
 *
 * A ticket names its node and proves that we made it. Whether it is still good, and whose it is by now, the engine
 * knows: it is void without its machine, and belongs to the first agent that came with it.
 */
export class JoinTickets {
  readonly #key: string;

  constructor(key: string) {
    this.#key = key;
  }

  issue(nodeId: NodeId): string {
    return `${PREFIX}${nodeId}_${this.#proofOf(nodeId).toString('base64url')}`;
  }

  /** The node that the ticket is for; undefined when it is none of ours. */
  nodeOf(token: string): NodeId | undefined {
    const match = token.startsWith(PREFIX) ? /^(.+)_([A-Za-z0-9_-]{43})$/.exec(token.slice(PREFIX.length)) : null;
    const name = match?.[1];
    if (name === undefined || !NAME.test(name)) return undefined;
    const nodeId = name as NodeId;
    return timingSafeEqual(this.#proofOf(nodeId), Buffer.from(match?.[2] ?? '', 'base64url')) ? nodeId : undefined;
  }

  #proofOf(nodeId: NodeId): Buffer {
    return createHmac('sha256', this.#key).update(nodeId).digest();
  }
}
