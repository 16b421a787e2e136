import type { EpochMs } from '../../shared/clock.js';
import { isDeepEqual } from '../../shared/equal.js';
import { type Refusal, refuse } from '../../shared/errors.js';
import type { AllocationId } from '../../shared/ids.js';
import type { Held, Hello } from '../../shared/wire/messages.js';
import type { Allocation } from '../model/allocation.js';
import type { BerthEvent } from '../model/events.js';
import type { Node } from '../model/node.js';
import type { ClusterView } from '../model/state.js';
import { consequencesOf } from './agent-reported.js';
import { done, type Rule, type RuleContext } from './rule.js';

/**
 * A node joins or comes back: its whole truth is compared with ours, once.
 *
 * What it holds, we catch up with. What we believe it runs and it does not know is lost. What we committed and it
 * never accepted is simply started again by the sync that follows.
 */
export const agentJoined: Rule<'agentJoined'> = (view, { hello, hasTicket }, context) => {
  const node = view.nodes.get(hello.nodeId);
  const refusal = (hasTicket ? refuseTicket(view, node, hello) : undefined) ?? refuseName(view, node, hello);
  if (refusal) return refusal;
  const events: BerthEvent[] = [];
  if (!node || hasChanged(node, hello)) events.push(registration(hello));
  events.push({ type: 'node.connected', nodeId: hello.nodeId });
  events.push(...compareHeld(view, hello, context));
  return done(...events);
};

/** A ticket is good for a machine that we have, and for the first agent that comes with it. */
function refuseTicket(view: ClusterView, node: Node | undefined, { nodeId, identity }: Hello): Refusal | undefined {
  if (!view.index.instanceByNode.has(nodeId)) {
    return refuse('forbidden', `the ticket of ${nodeId} is void: its machine has been given up`);
  }
  if (!node || node.identity === identity) return undefined;
  return refuse('forbidden', `the ticket of ${nodeId} has been used by another machine`);
}

function refuseName(view: ClusterView, node: Node | undefined, hello: Hello): Refusal | undefined {
  const { nodeId, identity } = hello;
  if (
    node &&
    node.identity !== identity &&
    (node.link.kind === 'connected' || view.index.usage(nodeId).live.size > 0)
  ) {
    return refuse(
      'name-taken',
      `another machine is node ${nodeId} and ${node.link.kind === 'connected' ? 'is connected' : 'may still run its tasks'}`,
      {
        hint: `start this agent with another --name, or remove the old node with: berth remove-node ${nodeId}`,
      },
    );
  }
  for (const other of view.nodes.values()) {
    if (other.identity !== identity || other.id === nodeId || other.link.kind === 'departed') continue;
    return refuse('name-taken', `this agent's state directory belongs to node ${other.id}`, {
      hint: `start it with --name ${other.id}, or give it another --state-dir`,
    });
  }
  return undefined;
}

function registration({ nodeId, identity, version, bootId, inventory }: Hello): BerthEvent {
  return { type: 'node.registered', nodeId, identity, version, bootId, inventory };
}

function hasChanged(node: Node, hello: Hello): boolean {
  return (
    node.identity !== hello.identity ||
    node.version !== hello.version ||
    node.bootId !== hello.bootId ||
    !isDeepEqual(node.inventory, hello.inventory)
  );
}

function compareHeld(view: ClusterView, hello: Hello, { now }: RuleContext): BerthEvent[] {
  const held = new Map<AllocationId, Held>(hello.held.map((entry) => [entry.allocationId, entry]));
  const events: BerthEvent[] = [];
  // Ends last: one may stop the other ranks of a gang, which then could no longer be said to have started.
  const ends: BerthEvent[] = [];
  for (const id of view.index.usage(hello.nodeId).live) {
    const allocation = view.allocations.get(id);
    if (!allocation) continue;
    for (const event of catchUp(allocation, held.get(id), now)) {
      (event.type === 'allocation.ended' ? ends : events).push(event);
    }
  }
  return [...events, ...ends];
}

function catchUp(allocation: Allocation, entry: Held | undefined, now: EpochMs): BerthEvent[] {
  if (!entry) return missing(allocation);
  const startedAt = now - (entry.startedAgeMs ?? entry.ageMs);
  return consequencesOf(allocation, { phase: entry.phase, startedAt, ...(entry.end ? { end: entry.end } : {}) });
}

/** An allocation that the agent does not know, although it keeps each until we have acknowledged its end. */
function missing(allocation: Allocation): BerthEvent[] {
  const { id: allocationId, phase } = allocation;
  const output = { stdoutBytes: 0, stderrBytes: 0 };
  if (phase.kind === 'committed') return [];
  if (phase.kind === 'stopping' && allocation.startedAt === undefined) {
    return [
      { type: 'allocation.ended', allocationId, end: { kind: 'stopped', reason: phase.reason, ranMs: 0 }, output },
    ];
  }
  const end = { kind: 'lost', message: 'the agent came back without it' } as const;
  return [{ type: 'allocation.ended', allocationId, end, output: null }];
}
