import { present } from '../../shared/assert.js';
import type { EpochMs } from '../../shared/clock.js';
import { type AllocationId, allocationIdOf, type NodeId } from '../../shared/ids.js';
import { NO_LIMITS, type Packing } from '../../shared/limits.js';
import { eachIndex } from '../../shared/ranges.js';
import type { ReadyStep } from '../model/lanes.js';
import type { Node } from '../model/node.js';
import { rejectionBefore } from '../model/rejection.js';
import { type ClusterView, stepOf } from '../model/state.js';
import type { Row, RowState } from './board.js';
import { Guard } from './guard.js';
import { type OrderPolicy, orderQueue, type ServingOrder } from './order.js';
import { type Claim, holdMsOf, togetherOf } from './outlook.js';
import { type Place, Placer } from './placer.js';
import { type Preemption, Preemptor } from './preemptor.js';

/** A proposal; it becomes an allocation when the engine commits it. */
export interface Placement {
  readonly allocationId: AllocationId;
  readonly nodeId: NodeId;
  readonly gpus: readonly number[];
}

export interface Plan {
  readonly placements: readonly Placement[];
  /** Attempts to stop, so that tasks of higher priority find room. */
  readonly preemptions: readonly Preemption[];
  /** Epoch ms at which another plan may find more to stop, though nothing else happens; undefined when none will. */
  readonly revisitAt: EpochMs | undefined;
  /** More could have been placed: plan again after these are committed. */
  readonly isPartial: boolean;
}

export interface PlanPolicy extends OrderPolicy {
  /** One plan's placements are committed as one batch; a larger plan would hold up everybody else. */
  readonly maxPlacements: number;
  readonly packing: Packing;
}

export const DEFAULT_PLAN_POLICY: PlanPolicy = { maxPlacements: 2_000, packing: 'pack', limits: NO_LIMITS };

/**
 * Places waiting tasks on free capacity, in the order of the queue (see order.ts), each where it costs least (score.ts).
 *
 * A task that does not fit now lets smaller ones pass, if they do not delay its reservation (backfill.ts). The ranks of
 * a gang are placed all or none. Once a demand class has not fitted, no later task of that class is tried: capacity
 * only shrinks while planning.
 *
 * @param placer  kept from plan to plan it saves finding again what has not changed; it decides nothing
 * Pure beside that memory. Cost: O(nodes) a plan and O(nodes) for a demand class that is new to the placer, then
 * O(log nodes) for each pair of a placed task and a demand class that is asked for afterwards.
 */
export function plan(view: ClusterView, policy: PlanPolicy, now: EpochMs, placer = new Placer()): Plan {
  placer.follow(view, policy.packing);
  return new Planning(view, policy, { now, placer }).run();
}

/** A step whose turn it is. */
interface Served {
  readonly entry: ReadyStep;
  readonly claim: Claim;
}

class Planning {
  readonly #view: ClusterView;
  readonly #maxPlacements: number;
  readonly #now: EpochMs;
  readonly #placer: Placer;
  readonly #queue: ServingOrder;
  readonly #guard: Guard;
  readonly #preemptor: Preemptor;
  /** How far steps have been served that were left for others to have their turn. */
  readonly #begun = new Map<ReadyStep, IterableIterator<ReadyTask>>();
  readonly #placements: Placement[] = [];

  constructor(
    view: ClusterView,
    policy: PlanPolicy,
    { now, placer }: { readonly now: EpochMs; readonly placer: Placer },
  ) {
    this.#view = view;
    this.#maxPlacements = policy.maxPlacements;
    this.#now = now;
    this.#placer = placer;
    this.#queue = orderQueue(view, policy, now);
    this.#guard = new Guard(view, placer.nodes, now);
    const { started } = this.#guard;
    this.#preemptor = new Preemptor(view, { limits: policy.limits, now, nodes: placer.nodes, started });
  }

  run(): Plan {
    let isPartial = false;
    for (const entry of this.#queue) {
      const { demand } = entry;
      const { spec } = present(stepOf(this.#view, entry), 'queued step');
      const served = { entry, claim: { demand, holdMs: holdMsOf(spec) } };
      isPartial = demand.gangSize === undefined ? this.#serve(served) : this.#serveGang(served);
      if (isPartial) break;
    }
    const { preemptions, revisitAt } = this.#preemptor;
    return { placements: this.#placements, preemptions, revisitAt, isPartial };
  }

  /** Places tasks one by one until there is no room, a limit is reached or somebody else's turn; true when the plan is full. */
  #serve(served: Served): boolean {
    const { entry, claim } = served;
    const tasks = this.#begun.get(entry) ?? readyTasks(this.#view, entry, this.#now);
    for (let task = tasks.next(); !task.done; task = tasks.next()) {
      const found = this.#find(served, tasks);
      if (found === undefined) break;
      const row = this.#elsewhere(served, task.value, found) ?? found;
      if (this.#placements.length >= this.#maxPlacements) return true;
      if (!this.#queue.take(entry, { count: 1, nodes: [this.#placer.nodeOf(row)] })) break;
      this.#commit(served, task.value, this.#placer.place(row, claim.demand));
      if (this.#queue.isTurnOver) break;
    }
    if (this.#queue.isTurnOver) this.#begun.set(entry, tasks);
    return false;
  }

  /** Places every rank, or none; a gang that is larger than a whole plan is one by itself. True when the plan is full. */
  #serveGang(served: Served): boolean {
    const { entry, claim } = served;
    const ranks = [...(this.#begun.get(entry) ?? readyTasks(this.#view, entry, this.#now))];
    if (ranks.length < togetherOf(claim.demand)) return false;
    const placed = this.#placements.length;
    if (placed > 0 && placed + ranks.length > this.#maxPlacements) return true;
    // When it comes again, after others have had their turn, nothing of it is left.
    this.#begun.set(entry, [].values());
    const places = this.#placesTogether(served, ranks.length);
    for (const [rank, place] of places.entries()) this.#commit(served, present(ranks[rank], 'rank'), place);
    return false;
  }

  /** Places for so many tasks at once; none when one of them has no place, or a limit is reached. */
  #placesTogether(served: Served, count: number): readonly Place[] {
    const { entry, claim } = served;
    const before: RowState[] = [];
    const places: Place[] = [];
    while (places.length < count) {
      const row = this.#find(served, [].values());
      if (row === undefined) break;
      before.push(this.#placer.stateOf(row));
      places.push(this.#placer.place(row, claim.demand));
    }
    const nodes = places.map(({ node }) => node);
    if (places.length === count && this.#queue.take(entry, { count, nodes })) return places;
    this.#placer.restore(before);
    return [];
  }

  /** Where the next task goes, `rest` following it. When no node has room, its demand is not asked for again. */
  #find(served: Served, rest: Iterator<ReadyTask>): Row | undefined {
    const { claim } = served;
    const { demand } = claim;
    const best = this.#placer.find(demand);
    if (best === undefined) {
      this.#noRoom(served, rest);
      return undefined;
    }
    if (this.#isPermitted(claim, this.#placer.nodeOf(best))) return best;
    return this.#placer.findPermitted(demand, (node) => this.#isPermitted(claim, node));
  }

  /** Another row than that of the node which has just rejected the task; undefined when there is none, or no need. */
  #elsewhere({ entry, claim }: Served, task: ReadyTask, found: Row): Row | undefined {
    if (task.attempt === 1) return undefined;
    const rejection = rejectionBefore(this.#view, { jobId: entry.jobId, step: entry.step, ...task });
    if (rejection === undefined || rejection.nodeId !== this.#placer.nodeOf(found).id) return undefined;
    return this.#placer.findPermitted(
      claim.demand,
      (node) => node.id !== rejection.nodeId && this.#isPermitted(claim, node),
    );
  }

  /** Is the node meant for nobody whom the task would keep waiting? */
  #isPermitted(claim: Claim, { id }: Node): boolean {
    return !this.#preemptor.isKept(id) && this.#guard.permits(claim, id);
  }

  /** No node has room: others are stopped for this task and the rest of its step, or it may get a reservation. */
  #noRoom({ entry, claim }: Served, rest: Iterator<ReadyTask>): void {
    const { demand } = claim;
    this.#queue.exhaust(demand);
    const tasks = { count: togetherOf(demand) };
    do {
      if (!this.#queue.mayTake(entry, tasks)) return;
      if (!this.#preemptor.makeRoom(entry, demand)) {
        this.#guard.block(claim);
        return;
      }
      this.#queue.take(entry, tasks);
    } while (!rest.next().done);
  }

  #commit({ entry, claim }: Served, task: ReadyTask, { node, gpus }: Place): void {
    const allocationId = allocationIdOf({ jobId: entry.jobId, step: entry.step, ...task });
    this.#placements.push({ allocationId, nodeId: node.id, gpus });
    this.#guard.note(claim, { nodeId: node.id, gpus });
  }
}

interface ReadyTask {
  readonly index: number;
  readonly attempt: number;
}

/** Tasks to place now: those that wait again, by index, then those that were never placed. */
function* readyTasks(view: ClusterView, entry: ReadyStep, now: EpochMs): Generator<ReadyTask, void, undefined> {
  const step = present(stepOf(view, entry), `queued step of ${entry.jobId}`);
  for (const index of [...entry.retries].sort((left, right) => left - right)) {
    const phase = step.tasks.get(index)?.phase;
    if (phase?.kind === 'queued' && phase.notBefore <= now) yield { index, attempt: phase.attempt };
  }
  for (const index of eachIndex(step.untouched)) yield { index, attempt: 1 };
}
