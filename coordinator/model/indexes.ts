import { present } from '../../shared/assert.js';
import type { EpochMs } from '../../shared/clock.js';
import type { AllocationId, InstanceId, JobId, NodeId, TaskRef } from '../../shared/ids.js';
import { addResources, NO_RESOURCES, type Resources, subtractResources } from '../../shared/resources.js';
import { Accounts, type AccountsView, type StoredAccounts } from './accounts.js';
import { type Allocation, heldGpuMillis } from './allocation.js';
import { ChangeLog } from './change-log.js';
import type { DemandClass } from './demand.js';
import { Experience, type ExperienceView, type StoredExperience } from './experience.js';
import { MinHeap } from './heap.js';
import { isRouted, type Job, type Step } from './job.js';
import { type LanePlace, Lanes, type LevelLanes, type ReadyStep } from './lanes.js';
import { MixCounter, type StoredMix, type TaskMix } from './mix.js';

/** What the live allocations of a node hold of it. */
export interface NodeUsage {
  readonly used: Resources;
  /** Thousandths in use, by the device's index; a device that nothing holds is absent. */
  readonly gpuMillis: ReadonlyMap<number, number>;
  readonly live: ReadonlySet<AllocationId>;
  /** The one that lives has the node to itself. */
  readonly isExclusive: boolean;
}

/** A moment at which something may have to be decided; what is still true then is checked against the state. */
export type Deadline =
  | { readonly kind: 'lease'; readonly nodeId: NodeId }
  | { readonly kind: 'drain'; readonly nodeId: NodeId }
  | { readonly kind: 'retry' }
  /** Somebody has to look whether a machine has come on. */
  | { readonly kind: 'instance'; readonly instanceId: InstanceId }
  /** A pool may order machines again. */
  | { readonly kind: 'pool'; readonly pool: string };

/** What the past has added up to, of which the records in memory need not tell any more. */
export interface StoredSums {
  readonly accounts: StoredAccounts;
  readonly mix: StoredMix;
  /** Absent while nothing has been learnt. */
  readonly experience?: StoredExperience;
}

export type StepRef = Pick<TaskRef, 'jobId' | 'step'>;

/** What is derived from the records, updated in place, never stored; but for its sums. */
export interface IndexView {
  usage(nodeId: NodeId): NodeUsage;
  /** Nodes whose record or usage has changed. */
  readonly nodeChanges: ChangeLog<NodeId>;
  liveOfJob(jobId: JobId): ReadonlySet<AllocationId>;
  /** The machine under a node; absent for nodes that we do not rent. */
  readonly instanceByNode: ReadonlyMap<NodeId, InstanceId>;
  readonly ready: Iterable<ReadyStep>;
  /** The same, by priority. */
  readonly levels: ReadonlyMap<number, LevelLanes>;
  /** Steps with several targets whose tasks wait to be told where to go. */
  readonly unrouted: ReadonlyMap<string, StepRef>;
  /** Those that have been told, and of which some wait still. */
  readonly reroutable: ReadonlyMap<string, StepRef>;
  readonly accounts: AccountsView;
  /** What has been submitted so far, by demand. */
  readonly mix: TaskMix;
  /** What has been learnt of the tasks that come. */
  readonly experience: ExperienceView;
  /** Tasks that are neither placed nor done, over all jobs. */
  readonly waitingCount: number;
  readonly unfinishedJobCount: number;
  /** The next moment that `takeDue` will yield; undefined when there is none. */
  nextDeadline(): EpochMs | undefined;
  sums(): StoredSums;
}

interface MutableUsage {
  used: Resources;
  readonly gpuMillis: Map<number, number>;
  readonly live: Set<AllocationId>;
  isExclusive: boolean;
}

interface MutableReady extends ReadyStep {
  readonly retries: Set<number>;
}

export const NOTHING_USED: NodeUsage = {
  used: NO_RESOURCES,
  gpuMillis: new Map(),
  live: new Set(),
  isExclusive: false,
};
const NO_ALLOCATIONS: ReadonlySet<AllocationId> = new Set();

export class Indexes implements IndexView {
  readonly accounts = new Accounts();
  readonly experience = new Experience();
  readonly nodeChanges = new ChangeLog<NodeId>();
  readonly instanceByNode = new Map<NodeId, InstanceId>();
  readonly unrouted = new Map<string, StepRef>();
  readonly reroutable = new Map<string, StepRef>();
  waitingCount = 0;
  unfinishedJobCount = 0;
  readonly #lanes = new Lanes<MutableReady>();
  readonly #mix = new MixCounter();
  readonly #usage = new Map<NodeId, MutableUsage>();
  readonly #liveByJob = new Map<JobId, Set<AllocationId>>();
  readonly #deadlines = new MinHeap<Deadline>();

  get ready(): Iterable<ReadyStep> {
    return this.#lanes;
  }

  get levels(): ReadonlyMap<number, LevelLanes> {
    return this.#lanes.levels;
  }

  get mix(): TaskMix {
    return this.#mix.shown;
  }

  usage(nodeId: NodeId): NodeUsage {
    return this.#usage.get(nodeId) ?? NOTHING_USED;
  }

  liveOfJob(jobId: JobId): ReadonlySet<AllocationId> {
    return this.#liveByJob.get(jobId) ?? NO_ALLOCATIONS;
  }

  nextDeadline(): EpochMs | undefined {
    return this.#deadlines.firstAt();
  }

  sums(): StoredSums {
    const experience = this.experience.stored();
    return {
      accounts: this.accounts.stored(),
      mix: this.#mix.stored(),
      ...(experience.demands.length === 0 && !experience.queues ? {} : { experience }),
    };
  }

  /** Call first, before the records of a snapshot are entered. */
  restoreSums({ accounts, mix, experience }: StoredSums, demandOf: (key: string) => DemandClass): void {
    this.accounts.restore(accounts);
    this.#mix.restore(mix, demandOf);
    if (experience) this.experience.restore(experience, demandOf);
  }

  /** Removes and returns the deadlines that have passed. */
  takeDue(now: EpochMs): Deadline[] {
    const due: Deadline[] = [];
    for (let at = this.nextDeadline(); at !== undefined && at <= now; at = this.nextDeadline()) {
      due.push(present(this.#deadlines.pop(), 'deadline'));
    }
    return due;
  }

  addDeadline(at: EpochMs, deadline: Deadline): void {
    this.#deadlines.push(at, deadline);
  }

  allocationBegan(allocation: Allocation): void {
    this.nodeChanges.note(allocation.nodeId);
    const usage = this.#usageFor(allocation.nodeId);
    usage.used = addResources(usage.used, allocation.resources);
    addGpus(usage.gpuMillis, allocation, 1);
    usage.live.add(allocation.id);
    if (allocation.exclusive) usage.isExclusive = true;
    const live = this.#liveByJob.get(allocation.ref.jobId);
    if (live) live.add(allocation.id);
    else this.#liveByJob.set(allocation.ref.jobId, new Set([allocation.id]));
  }

  allocationEnded(allocation: Allocation): void {
    this.nodeChanges.note(allocation.nodeId);
    const usage = this.#usageFor(allocation.nodeId);
    usage.used = subtractResources(usage.used, allocation.resources);
    addGpus(usage.gpuMillis, allocation, -1);
    usage.live.delete(allocation.id);
    if (usage.live.size === 0) this.#usage.delete(allocation.nodeId);
    const live = this.#liveByJob.get(allocation.ref.jobId);
    live?.delete(allocation.id);
    if (live?.size === 0) this.#liveByJob.delete(allocation.ref.jobId);
  }

  /** A step came with a new job; for the mix. */
  stepSubmitted(step: Step): void {
    this.#mix.add(step.demand, step.count);
  }

  /** More (or fewer) tasks of the job are neither placed nor done. */
  waitingChanged(job: Job, difference: number): void {
    this.waitingCount += difference;
    this.accounts.waiting(job, difference);
  }

  retryAdded(job: Job, step: Step, retry: { readonly index: number; readonly notBefore: EpochMs }): void {
    this.addDeadline(retry.notBefore, { kind: 'retry' });
    if (job.phase.kind === 'active' && isRouted(step)) this.#readyFor(job, step).retries.add(retry.index);
  }

  /** Its demand changes: what waits of it is to be queued anew by `queueChanged`. */
  stepLeft(job: Job, step: Step): void {
    const known = this.#lanes.find(placeOf(job, step));
    if (known) this.#lanes.remove(known);
  }

  /** Call after any change to a step's queue, or to its job's phase. Cost: O(log lane), O(tasks) when a job is released. */
  queueChanged(job: Job, step: Step): void {
    const isWaiting = job.phase.kind === 'active' && step.isReleased && step.counts.queued > 0;
    const isServed = isWaiting && isRouted(step);
    if (step.spec.targets && step.spec.targets.length > 1) this.#choiceChanged(job, step, { isWaiting });
    const known = this.#lanes.find(placeOf(job, step));
    if (!isServed) {
      if (known) this.#lanes.remove(known);
    } else if (!known) {
      const added = this.#readyFor(job, step);
      for (const task of step.tasks.values()) if (task.phase.kind === 'queued') added.retries.add(task.index);
    }
  }

  #choiceChanged(job: Job, step: Step, { isWaiting }: { readonly isWaiting: boolean }): void {
    const key = `${job.id}.${step.name}`;
    const [its, other] = isRouted(step) ? [this.reroutable, this.unrouted] : [this.unrouted, this.reroutable];
    other.delete(key);
    if (!isWaiting) its.delete(key);
    else if (!its.has(key)) its.set(key, { jobId: job.id, step: step.name });
  }

  taskTaken(job: Job, step: Step, index: number): void {
    this.#lanes.find(placeOf(job, step))?.retries.delete(index);
    this.queueChanged(job, step);
  }

  #readyFor(job: Job, step: Step): MutableReady {
    const place = placeOf(job, step);
    const known = this.#lanes.find(place);
    if (known) return known;
    const made: MutableReady = {
      ...place,
      jobId: job.id,
      step: step.name,
      jobName: job.spec.name,
      retries: new Set(),
    };
    this.#lanes.add(made);
    return made;
  }

  #usageFor(nodeId: NodeId): MutableUsage {
    let usage = this.#usage.get(nodeId);
    if (!usage) {
      usage = { used: NO_RESOURCES, gpuMillis: new Map(), live: new Set(), isExclusive: false };
      this.#usage.set(nodeId, usage);
    }
    return usage;
  }
}

function addGpus(used: Map<number, number>, allocation: Allocation, sign: 1 | -1): void {
  for (const [position, gpu] of allocation.gpus.entries()) {
    const millis = (used.get(gpu) ?? 0) + sign * heldGpuMillis(allocation, position);
    if (millis === 0) used.delete(gpu);
    else used.set(gpu, millis);
  }
}

function placeOf(job: Job, step: Step): LanePlace {
  return {
    priority: job.spec.priority,
    namespace: job.spec.namespace,
    user: job.submittedBy,
    demand: step.demand,
    sequence: job.sequence,
    position: step.position,
  };
}
