import { assert, present } from '../../shared/assert.js';
import type { EpochMs } from '../../shared/clock.js';
import type { Limits, QuotaOwner } from '../../shared/limits.js';
import type { AccountView } from '../model/accounts.js';
import type { DemandClass } from '../model/demand.js';
import { compareAge, type LevelLanes, type NamespaceLanes, type ReadyStep, type UserLanes } from '../model/lanes.js';
import type { ClusterView } from '../model/state.js';
import { Headroom, holdingsTogether, type Together } from './headroom.js';
import { DominantShare } from './share.js';

export interface OrderPolicy {
  readonly limits: Limits;
}

/**
 * The order in which waiting steps are served, and what each may still take.
 *
 * Priority first; within a priority the namespace with the least share per weight, within it the user with the least,
 * then age. A share is the dominant one (DRF; Ghodsi et al. 2011): the largest part of the cluster's CPU, memory or
 * GPUs, of what is held now plus the decaying mean of what was held. What a plan places counts at once, so one plan
 * divides free capacity as many small ones would.
 *
 *     for (const entry of queue) {
 *       // for each of its tasks that has a place, until queue.isTurnOver; on the next turn go on where it stopped
 *       if (!queue.take(entry)) break;
 *     }
 *
 * Cost: O(users) to begin a priority, O(log users + demand classes) a turn. Pure.
 */
export function orderQueue(view: ClusterView, policy: OrderPolicy, now: EpochMs): ServingOrder {
  return new ServingOrder(view, policy, now);
}

export class ServingOrder implements Iterable<ReadyStep> {
  readonly #view: ClusterView;
  readonly #limits: Limits;
  readonly #now: EpochMs;
  readonly #headroom: Headroom;
  readonly #exhausted = new Set<DemandClass>();
  readonly #shares = new Map<string, DominantShare>();
  #turn: Turn | undefined;

  constructor(view: ClusterView, { limits }: OrderPolicy, now: EpochMs) {
    this.#view = view;
    this.#limits = limits;
    this.#now = now;
    this.#headroom = new Headroom(view, limits);
  }

  *[Symbol.iterator](): Generator<ReadyStep, void, undefined> {
    const priorities = [...this.#view.index.levels.keys()].sort((left, right) => right - left);
    for (const priority of priorities) {
      yield* this.#serve(this.#namespaces(present(this.#view.index.levels.get(priority), 'level')));
    }
  }

  /** Someone else is to be served before more of this entry; it comes again. */
  get isTurnOver(): boolean {
    return this.#turn?.isOver ?? false;
  }

  /**
   * Counts tasks of the entry being served as placed: an exclusive one holds all of its node, if that is known.
   * False when a limit lets them not start, and then the entry is left.
   */
  take(entry: ReadyStep, tasks: Together): boolean {
    const turn = present(this.#turn, 'turn');
    assert(turn.entry === entry, `${entry.jobId}/${entry.step} is not being served`);
    const limit = this.#headroom.take(entry, tasks);
    if (limit) {
      // A quota stops every step of the lane alike, that of a name those of jobs of the name.
      if (limit.what.kind === 'quota') turn.member.leaveAlike(entry, limit.what.owner);
      return false;
    }
    const amount = holdingsTogether(entry.demand, tasks);
    turn.namespace.share.add(amount);
    turn.member.share.add(amount);
    turn.isOver = isBehind(turn.namespace, turn.nextNamespace) || isBehind(turn.member, turn.nextMember);
    return true;
  }

  /** Would `take` count them? */
  mayTake(entry: ReadyStep, tasks: Together): boolean {
    return this.#headroom.obstacle(entry, tasks) === undefined;
  }

  /** No node has room for this demand; it is not offered again. */
  exhaust(demand: DemandClass): void {
    this.#exhausted.add(demand);
  }

  *#serve(namespaces: NamespaceQueue[]): Generator<ReadyStep, void, undefined> {
    for (let namespace = namespaces.pop(); namespace; namespace = namespaces.pop()) {
      const { members } = namespace;
      const member = present(members.pop(), 'member of a namespace with work');
      const entry = member.head(this.#exhausted);
      if (entry) {
        const turn: Turn = {
          entry,
          namespace,
          member,
          nextNamespace: namespaces.at(-1),
          nextMember: members.at(-1),
          isOver: false,
        };
        this.#turn = turn;
        yield entry;
        if (!turn.isOver) member.leave(entry);
      }
      if (member.head(this.#exhausted)) insert(members, member);
      if (members.length > 0) insert(namespaces, namespace);
    }
  }

  #namespaces(level: LevelLanes): NamespaceQueue[] {
    const { accounts } = this.#view.index;
    const found: NamespaceQueue[] = [];
    for (const [name, users] of level) {
      const members = this.#members(name, users);
      if (members.length === 0) continue;
      const weight = this.#limits.namespaceWeights.get(name);
      found.push(new NamespaceQueue(this.#share(`namespace ${name}`, accounts.namespace(name), weight), members));
    }
    return found.sort(servedLast);
  }

  #members(namespace: string, users: NamespaceLanes): MemberQueue[] {
    const { accounts } = this.#view.index;
    const found: MemberQueue[] = [];
    for (const [name, lanes] of users) {
      const weight = this.#limits.userWeights.get(name);
      const share = (): DominantShare =>
        this.#share(`member ${namespace} ${name}`, accounts.member(namespace, name), weight);
      const member = new MemberQueue(share, lanes);
      if (member.head(this.#exhausted)) found.push(member);
    }
    return found.length > 1 ? found.sort(servedLast) : found;
  }

  /** Kept from one priority to the next, with what was placed in between. */
  #share(key: string, account: AccountView, weight = 1): DominantShare {
    const known = this.#shares.get(key);
    if (known) return known;
    const share = new DominantShare(this.#view.index.accounts.capacity, weight);
    share.add(account.running);
    share.add(account.meanAt(this.#now));
    this.#shares.set(key, share);
    return share;
  }
}

/** One entry being served, by the one whose turn it is. */
interface Turn {
  readonly entry: ReadyStep;
  readonly namespace: NamespaceQueue;
  readonly member: MemberQueue;
  /** Who is next when it has had enough; undefined when nobody else waits. */
  readonly nextNamespace: NamespaceQueue | undefined;
  readonly nextMember: MemberQueue | undefined;
  isOver: boolean;
}

interface Queue {
  readonly share: DominantShare;
  /** What it would have served next, to break ties by age. */
  readonly next: ReadyStep | undefined;
}

interface ServedLane {
  readonly demand: DemandClass;
  readonly entries: readonly ReadyStep[];
  at: number;
  /** Names whose quota lets no more of this demand start. */
  readonly fullNames: Set<string>;
}

function passFullNames(lane: ServedLane): void {
  for (let entry = lane.entries[lane.at]; entry && lane.fullNames.has(entry.jobName); entry = lane.entries[lane.at])
    lane.at += 1;
}

/** One user's work in a namespace: its lanes, and how far each has been served. */
class MemberQueue implements Queue {
  readonly #makeShare: () => DominantShare;
  readonly #lanes: ServedLane[] = [];
  #oldest: ReadyStep | undefined;
  #share: DominantShare | undefined;

  constructor(makeShare: () => DominantShare, lanes: UserLanes) {
    this.#makeShare = makeShare;
    for (const [demand, entries] of lanes) this.#lanes.push({ demand, entries, at: 0, fullNames: new Set() });
  }

  /** Found when it is first asked for: an only member is compared with nobody. */
  get share(): DominantShare {
    this.#share ??= this.#makeShare();
    return this.#share;
  }

  get next(): ReadyStep | undefined {
    return this.#oldest;
  }

  /** The oldest entry whose demand may still find room. Cost: O(lanes). */
  head(exhausted: ReadonlySet<DemandClass>): ReadyStep | undefined {
    let oldest: ReadyStep | undefined;
    for (const { demand, entries, at } of this.#lanes) {
      const entry = entries[at];
      if (entry && !exhausted.has(demand) && (!oldest || compareAge(entry, oldest) < 0)) oldest = entry;
    }
    this.#oldest = oldest;
    return oldest;
  }

  /** Nothing more of this entry in this plan. */
  leave(entry: ReadyStep): void {
    const lane = this.#laneOf(entry);
    if (lane.entries[lane.at] === entry) lane.at += 1;
    passFullNames(lane);
  }

  /** Nor of those in its lane that the same quota stops. Cost: O(1) over a plan for each entry passed. */
  leaveAlike(entry: ReadyStep, owner: QuotaOwner['owner']): void {
    const lane = this.#laneOf(entry);
    if (owner !== 'job') lane.at = lane.entries.length;
    else lane.fullNames.add(entry.jobName);
    passFullNames(lane);
  }

  #laneOf({ demand }: ReadyStep) {
    return present(
      this.#lanes.find((lane) => lane.demand === demand),
      'lane of an entry being served',
    );
  }
}

class NamespaceQueue implements Queue {
  readonly share: DominantShare;
  /** Served from the end. */
  readonly members: MemberQueue[];

  constructor(share: DominantShare, members: MemberQueue[]) {
    this.share = share;
    this.members = members;
  }

  get next(): ReadyStep | undefined {
    return this.members.at(-1)?.next;
  }
}

function isBehind(queue: Queue, rival: Queue | undefined): boolean {
  return rival !== undefined && queue.share.value > rival.share.value;
}

/** The one with the smaller share, then the one with the older work, comes later in a list that is served from its end. */
function servedLast(left: Queue, right: Queue): number {
  const difference = right.share.value - left.share.value;
  if (difference !== 0 || !left.next || !right.next) return difference;
  return compareAge(right.next, left.next);
}

function insert<Item extends Queue>(queue: Item[], item: Item): void {
  let low = 0;
  let high = queue.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (servedLast(present(queue[middle], 'queue'), item) < 0) low = middle + 1;
    else high = middle;
  }
  queue.splice(low, 0, item);
}
