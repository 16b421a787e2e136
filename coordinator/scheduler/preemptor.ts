import { present } from '../../shared/assert.js';
import type { EpochMs } from '../../shared/clock.js';
import type { AllocationId, JobId, NodeId } from '../../shared/ids.js';
import { type Limits, preemptedUpTo } from '../../shared/limits.js';
import type { DemandClass } from '../model/demand.js';
import type { ReadyStep } from '../model/lanes.js';
import { isTarget } from '../model/mirror.js';
import type { Node } from '../model/node.js';
import type { ClusterView } from '../model/state.js';
import { nodesFor } from './backfill.js';
import { cheapestVictims, compareCosts, type VictimSet } from './cheapest-victims.js';
import { roomBeside, type Started, takeOne, togetherOf } from './outlook.js';
import { give, hasRoom, type Room, shareOf } from './room.js';
import { type Victim, victimsOn } from './victims.js';

/** An attempt that is to go, and for which job. */
export interface Preemption {
  readonly allocationId: AllocationId;
  readonly jobId: JobId;
}

/** Tasks for which one plan makes room, so that its cost is bounded; the next plan goes on. */
const MAX_TASKS = 32;

export interface PreemptorOptions {
  readonly limits: Limits;
  readonly now: EpochMs;
  /** Usable ones, by name. */
  readonly nodes: readonly Node[];
  /** What the plan at hand has placed so far. */
  readonly started: ReadonlyMap<NodeId, readonly Started[]>;
}

/** What is decided so far: replaced at each decision, so that one can be taken back. */
interface Decided {
  /** What will be free on a node when what is being stopped there is gone, less what that is meant for. */
  readonly rooms: ReadonlyMap<NodeId, Room>;
  /** Nodes whose room is meant for somebody: nothing of lower priority may start there. */
  readonly kept: ReadonlySet<NodeId>;
  readonly preemptions: ReadonlyMap<AllocationId, Preemption>;
}

/**
 * Makes room for tasks of high priority by stopping others, where the operator's classes allow it.
 *
 * Room that is on its way is counted before anything is stopped: what is being stopped already, for whatever reason, is
 * as good as gone, so that one plan after another asks for nothing twice. Victims are of lower priority than the task,
 * which never changes, so that no two tasks stop each other in turn; and each is sent back MAX_PREEMPTIONS times at most.
 * Cost: for each task, MAX_TASKS a plan at most, that of the nodes that a reservation looks at, and of what runs there;
 * nothing where no class allows it.
 */
export class Preemptor {
  /** When an attempt that was spared for its youth may be stopped; then it is worth planning again. */
  revisitAt: EpochMs | undefined;
  readonly #view: ClusterView;
  readonly #options: PreemptorOptions;
  #decided: Decided = { rooms: new Map(), kept: new Set(), preemptions: new Map() };
  #taskCount = 0;
  /** Whom a node could lose, by node and the priority up to which; found once a plan, and anew where one is chosen. */
  readonly #victims = new Map<NodeId, Map<number, readonly Victim[]>>();

  constructor(view: ClusterView, options: PreemptorOptions) {
    this.#view = view;
    this.#options = options;
  }

  get preemptions(): readonly Preemption[] {
    return [...this.#decided.preemptions.values()];
  }

  isKept(nodeId: NodeId): boolean {
    return this.#decided.kept.has(nodeId);
  }

  /** Makes room for one more task of the step, or for all ranks of a gang; false when it cannot, and then nothing is changed. */
  makeRoom({ jobId, priority }: Pick<ReadyStep, 'jobId' | 'priority'>, demand: DemandClass): boolean {
    const maxPriority = preemptedUpTo(this.#options.limits, priority);
    // At a remote system nobody's work is stopped for a place: the order there is the site's affair.
    if (maxPriority === undefined || isTarget(demand.driver)) return false;
    const together = togetherOf(demand);
    if (this.#taskCount > 0 && this.#taskCount + together > MAX_TASKS) return false;
    const before = this.#decided;
    for (let made = 0; made < together; made += 1) {
      if (this.#takeComing(demand) || this.#stopCheapest({ jobId, maxPriority, demand })) continue;
      this.#decided = before;
      this.#victims.clear();
      return false;
    }
    this.#taskCount += together;
    return true;
  }

  /** The first node on which enough is on its way. */
  #takeComing(demand: DemandClass): boolean {
    for (const { id } of nodesFor(demand, this.#options.nodes)) {
      const isComing = this.#decided.kept.has(id) || this.#view.index.accounts.endingOn(id).size > 0;
      if (!isComing || !hasRoom(this.#roomOn(id), demand)) continue;
      this.#take(id, demand);
      return true;
    }
    return false;
  }

  #stopCheapest(asked: { readonly jobId: JobId; readonly maxPriority: number; readonly demand: DemandClass }): boolean {
    const { jobId, maxPriority, demand } = asked;
    let best: { readonly nodeId: NodeId; readonly set: VictimSet } | undefined;
    for (const { id } of nodesFor(demand, this.#options.nodes)) {
      const set = cheapestVictims(this.#roomOn(id), demand, this.#victimsOn(id, maxPriority));
      if (set && (!best || compareCosts(set.cost, best.set.cost) < 0)) best = { nodeId: id, set };
    }
    if (!best) return false;
    for (const victim of best.set.victims) for (const id of victim.allocationIds) this.#stop(id, jobId);
    this.#take(best.nodeId, demand);
    return true;
  }

  #victimsOn(nodeId: NodeId, maxPriority: number): readonly Victim[] {
    const known = this.#victims.get(nodeId)?.get(maxPriority);
    if (known) return known;
    const found = victimsOn(this.#view, nodeId, {
      now: this.#options.now,
      maxPriority,
      isChosen: (id) => this.#decided.preemptions.has(id),
      onTooYoung: (eligibleAt) => {
        this.revisitAt = Math.min(this.revisitAt ?? eligibleAt, eligibleAt);
      },
    });
    const ofNode = this.#victims.get(nodeId);
    if (ofNode) ofNode.set(maxPriority, found);
    else this.#victims.set(nodeId, new Map([[maxPriority, found]]));
    return found;
  }

  #stop(allocationId: AllocationId, jobId: JobId): void {
    const allocation = present(this.#view.allocations.get(allocationId), `allocation ${allocationId}`);
    const room = copyOf(this.#roomOn(allocation.nodeId));
    give(room, shareOf(room.node, allocation));
    this.#victims.delete(allocation.nodeId);
    const { rooms, preemptions } = this.#decided;
    this.#decided = {
      ...this.#decided,
      rooms: new Map(rooms).set(allocation.nodeId, room),
      preemptions: new Map(preemptions).set(allocationId, { allocationId, jobId }),
    };
  }

  #take(nodeId: NodeId, demand: DemandClass): void {
    const room = copyOf(this.#roomOn(nodeId));
    takeOne(room, demand);
    const { rooms, kept } = this.#decided;
    this.#decided = { ...this.#decided, rooms: new Map(rooms).set(nodeId, room), kept: new Set(kept).add(nodeId) };
  }

  /** Found anew until something is decided for the node: the plan may still place tasks there. */
  #roomOn(nodeId: NodeId): Room {
    const known = this.#decided.rooms.get(nodeId);
    if (known) return known;
    const node = present(this.#view.nodes.get(nodeId), `node ${nodeId}`);
    const room = roomBeside(this.#view, { node, started: this.#options.started.get(nodeId) ?? [] });
    for (const id of this.#view.index.accounts.endingOn(nodeId)) {
      const allocation = present(this.#view.allocations.get(id), `allocation ${id}`);
      if (allocation.phase.kind === 'stopping') give(room, shareOf(node, allocation));
    }
    return room;
  }
}

function copyOf(room: Room): Room {
  return { ...room, gpuMillis: [...room.gpuMillis] };
}
