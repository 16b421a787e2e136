import type { Clock, EpochMs } from '../../../shared/clock.js';
import { Gate } from '../../../shared/gate.js';
import type { AllocationId, NodeId } from '../../../shared/ids.js';
import type { Log } from '../../../shared/log.js';
import type { StopReason } from '../../../shared/outcome.js';
import type { ArtifactStore } from '../../artifacts/artifact-store.js';
import type { EngineHandle } from '../../engine/handle.js';
import type { Input } from '../../engine/inputs.js';
import type { HpcBackend } from '../backend.js';
import type { MirrorOutcome, MirrorTrouble } from '../mirror.js';
import { afterStep, type MirrorResult, type MirrorStep, nextStep, tryingAgain } from '../mirror-policy.js';
import type { HpcTarget } from '../target.js';
import { outcomeOf } from './ends.js';
import { Errands } from './errands.js';
import { finish, removeFiles } from './finish.js';
import { cancelTasks, changesOf, followOutput, lookAtAll, tasksToCancel } from './follow.js';
import { Output, type OutputSink } from './output.js';
import { type Member, type RemoteState, type RemoteWork, remoteIdOf, stateOf, stopMember } from './remote-work.js';
import { SiteSetup } from './site-setup.js';
import { takeStep } from './submit.js';
import { Works } from './works.js';

export interface SiteOptions {
  readonly target: HpcTarget;
  readonly nodeId: NodeId;
  readonly backend: HpcBackend;
  readonly engine: Pick<EngineHandle, 'handle' | 'handleAll'>;
  readonly logs: OutputSink;
  readonly artifacts: ArtifactStore;
  readonly clock: Clock;
  readonly log: Log;
}

export const SITE_LIMITS = {
  /** Jobs that are being submitted or canceled at once. */
  stepsAtOnce: 8,
  /** Ended tasks whose output and files are fetched at once. */
  finishesAtOnce: 16,
  followMs: 2_000,
} as const;

/**
 * All remote jobs of one account at one target: one loop, so that however many there are their states cost one call a
 * period. It waits for nothing but the time: what takes long, such as large inputs of one job, keeps no other job's state
 * from being seen. While the site does not answer, or does not let us in, nothing is asked of it but now and then.
 */
export class Site {
  readonly setup: SiteSetup;
  readonly #options: SiteOptions;
  readonly #output: Output;
  readonly #works = new Works();
  readonly #stop = new AbortController();
  #trouble: MirrorTrouble | null = null;
  #lookAt: EpochMs = 0;
  #followAt: EpochMs = 0;
  #isRunning = false;
  readonly #errands: Errands;
  readonly #gate = new Gate(SITE_LIMITS.finishesAtOnce);
  #isWoken = false;
  #endRest: () => void = () => {};

  constructor(options: SiteOptions) {
    this.#options = options;
    const { backend, logs, clock, log } = options;
    const { signal } = this.#stop;
    this.#output = new Output(backend.files, logs);
    this.setup = new SiteSetup(backend, clock, signal);
    this.#errands = new Errands({ clock, log, signal, ended: () => this.#wake() });
  }

  add(work: RemoteWork): void {
    this.#works.add(work);
    this.#wake();
    if (!this.#isRunning) void this.#run();
  }

  /**
   * Why nothing can be asked of it for now; null when it can. It lasts while it is tried again, which may take long, and
   * no longer than somebody tries.
   */
  get trouble(): MirrorTrouble | null {
    return this.#works.size > 0 || this.#isPaused() ? this.#trouble : null;
  }

  /** False when the attempt is none of this site's. */
  stop(allocationId: AllocationId, reason: StopReason): boolean {
    const found = this.#works.find(allocationId);
    if (!found) return false;
    stopMember(found.work, found.member, { reason, now: this.#options.clock.now() });
    this.#wake();
    return true;
  }

  /** Credentials may have been renewed: whatever waits for them is tried now. */
  renewed(): void {
    if (this.#trouble?.kind !== 'credentials') return;
    const now = this.#options.clock.now();
    this.#trouble = { ...this.#trouble, retryAt: now };
    for (const work of this.#works.values()) work.mirror = tryingAgain(work.mirror, now);
    this.#wake();
  }

  stateOf(allocationId: AllocationId): RemoteState | undefined {
    const found = this.#works.find(allocationId);
    const { nodeId, clock } = this.#options;
    if (!found) return undefined;
    // What has not been tried since the site let nobody in waits for the same.
    const trouble = found.work.mirror.trouble ?? this.#trouble;
    return stateOf(found.work, found.member.index, { target: nodeId, now: clock.now(), trouble });
  }

  async close(): Promise<void> {
    this.#stop.abort();
    this.#wake();
    await this.#options.backend.close();
  }

  #wake(): void {
    this.#isWoken = true;
    this.#endRest();
  }

  async #run(): Promise<void> {
    this.#isRunning = true;
    while (this.#works.size > 0 && !this.#stop.signal.aborted) {
      this.#isWoken = false;
      if (!this.#isPaused()) this.#begin();
      if (!this.#isWoken) await this.#rest();
    }
    this.#isRunning = false;
  }

  /** Begins all that is due. */
  #begin(): void {
    const { backend, target, clock } = this.#options;
    const now = clock.now();
    let mustLook = false;
    for (const work of this.#works.values()) {
      const step = nextStep(work.mirror, now);
      if (step.kind === 'poll') mustLook = true;
      else if (this.#mayBegin(work, step)) this.#errands.begin(work, () => this.#take(work, step));
    }
    const tasks = tasksToCancel(this.#works, now);
    if (tasks.length > 0)
      this.#errands.begin('cancel tasks', () => cancelTasks(tasks, { backend, target, clock }, this.#stop.signal));
    if (mustLook && now >= this.#lookAt) this.#errands.begin('look', () => this.#look());
    if (now >= this.#followAt) this.#errands.begin('follow', () => this.#follow());
  }

  #mayBegin(work: RemoteWork, { kind }: MirrorStep): boolean {
    if (kind === 'wait' || kind === 'done' || kind === 'poll' || this.#errands.has(work)) return false;
    return this.#errands.stepCount < SITE_LIMITS.stepsAtOnce;
  }

  #isPaused(): boolean {
    return this.#trouble !== null && this.#options.clock.now() < this.#trouble.retryAt;
  }

  async #take(work: RemoteWork, step: MirrorStep): Promise<void> {
    const result = await takeStep(work, step, this.#options, this.#stop.signal);
    if (result) await this.#advance(work, result);
  }

  async #look(): Promise<void> {
    const { backend, clock, target } = this.#options;
    this.#lookAt = clock.now() + target.period.minMs;
    await lookAtAll(this.#works, backend, (work, result) => this.#advance(work, result), this.#stop.signal);
  }

  async #follow(): Promise<void> {
    const { clock, target } = this.#options;
    this.#followAt = clock.now() + Math.max(SITE_LIMITS.followMs, target.period.minMs);
    await followOutput(this.#works, this.#output, this.#stop.signal);
  }

  async #advance(work: RemoteWork, result: MirrorResult): Promise<void> {
    const { clock, target, engine, nodeId, log } = this.#options;
    const idBefore = remoteIdOf(work);
    // That accounting cannot be asked is the trouble of the job alone: the controller has just answered.
    const isOwn = result.kind === 'unsure';
    const known = isOwn ? work.mirror.trouble : this.#trouble;
    work.mirror = afterStep(work.mirror, result, { now: clock.now(), period: target.period });
    const { trouble } = work.mirror;
    if (trouble && trouble.kind !== known?.kind) {
      log.warn('a remote batch system does not do as told', {
        target: nodeId,
        kind: trouble.kind,
        reason: trouble.message,
      });
    }
    if (isOwn) this.#trouble = null;
    else if (trouble || result.kind !== 'failed') this.#trouble = trouble;
    const remoteId = remoteIdOf(work);
    const { tag } = work.submission;
    if (remoteId !== null && remoteId !== idBefore) {
      await engine.handle({ type: 'mirrorQueued', tag, remoteId, nodeId });
      log.info('remote job found or submitted', { target: nodeId, tag, remoteId });
    }
    await this.#report(work);
  }

  /** Tells the engine what has changed, and takes care of tasks that have ended. */
  async #report(work: RemoteWork): Promise<void> {
    const { nodeId, clock, engine } = this.#options;
    const inputs: Input[] = [];
    for (const member of work.members.values()) {
      if (member.isFinishing) continue;
      inputs.push(...changesOf(work, member, { nodeId, now: clock.now() }));
      const outcome = outcomeOf(work, member);
      if (!outcome) continue;
      member.isFinishing = true;
      void this.#finish(work, member, outcome);
    }
    if (inputs.length > 0) await engine.handleAll(inputs);
  }

  async #finish(work: RemoteWork, member: Member, outcome: MirrorOutcome): Promise<void> {
    const { backend, artifacts, clock, log, engine, nodeId, target } = this.#options;
    const { files } = backend;
    const means = { output: this.#output, carrier: { files, artifacts }, gate: this.#gate, clock, log };
    const { allocationId } = member;
    try {
      const end = await finish({ work, member, outcome }, means, this.#stop.signal);
      await engine.handle({ type: 'agentReported', nodeId, report: { allocationId, phase: 'ended', end, ageMs: 0 } });
      work.hasFailed ||= outcome.kind !== 'completed';
      const hasMore = this.#works.removeMember(work, member);
      if (!hasMore) await this.#gate.pass(() => removeFiles(work, { files, target, log }, this.#stop.signal));
    } catch (error) {
      if (!this.#stop.signal.aborted) log.warn('the end of a remote task is not recorded', { allocationId, error });
    }
  }

  /** Until something is due. What is under way wakes the loop by its end. */
  #rest(): Promise<void> {
    const { clock } = this.#options;
    const now = clock.now();
    let until = this.#errands.has('follow') ? now + SITE_LIMITS.followMs : this.#followAt;
    for (const work of this.#works.values()) {
      const step = nextStep(work.mirror, now);
      if (step.kind === 'wait') until = Math.min(until, step.until);
      if (step.kind === 'poll' && !this.#errands.has('look')) until = Math.min(until, this.#lookAt);
      if (this.#mayBegin(work, step)) until = now;
    }
    if (this.#isPaused()) until = this.#trouble?.retryAt ?? until;
    return new Promise((resolve) => {
      const cancel = clock.after(Math.max(1, until - now), resolve);
      this.#endRest = () => {
        cancel();
        resolve();
      };
    });
  }
}
