import type { Cancel, Clock, EpochMs } from '../../../shared/clock.js';
import type { AllocationId, NodeId } from '../../../shared/ids.js';
import type { Log } from '../../../shared/log.js';
import type { StopReason } from '../../../shared/outcome.js';
import type { ArtifactStore } from '../../artifacts/artifact-store.js';
import type { EngineHandle } from '../../engine/handle.js';
import type { Input } from '../../engine/inputs.js';
import { asHpcError, type HpcBackend } from '../backend.js';
import type { MirrorOutcome, MirrorTrouble } from '../mirror.js';
import { afterStep, type MirrorResult, type MirrorStep, nextStep } from '../mirror-policy.js';
import { judge, performStep } from '../perform-step.js';
import type { HpcTarget } from '../target.js';
import { taskOf } from './ends.js';
import { finish } from './finish.js';
import { Output, type OutputSink } from './output.js';
import { type Member, type RemoteState, type RemoteWork, stateOf, stopMember } from './remote-work.js';
import { stageIn } from './staging.js';

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
  /** Submissions and cancellations between two looks at the states. */
  stepsPerRound: 8,
  /** Running tasks whose output is followed between two looks. */
  followedPerRound: 16,
  followMs: 2_000,
  /** What is set up wrongly may be mended meanwhile. */
  checkAgainMs: 10_000,
  /** A cancellation of one task of an array is repeated after this. */
  cancelAgainMs: 10_000,
} as const;

/**
 * All remote jobs of one account at one target: one loop, so that however many there are their states cost one call a
 * period. While the site does not answer, or does not let us in, nothing is asked of it but now and then.
 */
export class Site {
  readonly #options: SiteOptions;
  readonly #output: Output;
  readonly #works = new Map<string, RemoteWork>();
  readonly #byAllocation = new Map<AllocationId, RemoteWork>();
  readonly #stop = new AbortController();
  #trouble: MirrorTrouble | null = null;
  #checked: { readonly at: EpochMs; readonly found: Promise<string | undefined> } | undefined;
  #lookAt: EpochMs = 0;
  #followAt: EpochMs = 0;
  #isRunning = false;
  #wake: () => void = () => {};

  constructor(options: SiteOptions) {
    this.#options = options;
    this.#output = new Output(options.backend.files, options.logs);
  }

  add(work: RemoteWork): void {
    this.#works.set(work.submission.tag, work);
    for (const { allocationId } of work.members.values()) this.#byAllocation.set(allocationId, work);
    this.#wake();
    if (!this.#isRunning) void this.#run();
  }

  /** What is set up wrongly; undefined when nothing is, or when that cannot be known now. */
  async fault(): Promise<string | undefined> {
    const { clock, backend } = this.#options;
    const { at, found } = this.#checked ?? { at: Number.NEGATIVE_INFINITY, found: undefined };
    if (found && clock.now() - at < SITE_LIMITS.checkAgainMs) return found;
    const check = backend.check(this.#stop.signal).then(
      () => undefined,
      (error: unknown) => {
        const { kind, message } = asHpcError(error, 'looking at the site');
        return kind === 'configuration' || kind === 'refused' ? message : undefined;
      },
    );
    this.#checked = { at: clock.now(), found: check };
    return check;
  }

  /** False when the attempt is none of this site's. */
  stop(allocationId: AllocationId, reason: StopReason): boolean {
    const work = this.#byAllocation.get(allocationId);
    const member = work && memberOf(work, allocationId);
    if (!work || !member) return false;
    stopMember(work, member, { reason, now: this.#options.clock.now() });
    this.#wake();
    return true;
  }

  stateOf(allocationId: AllocationId): RemoteState | undefined {
    const work = this.#byAllocation.get(allocationId);
    const member = work && memberOf(work, allocationId);
    return work && member && stateOf(work, member.index, this.#options.nodeId);
  }

  async close(): Promise<void> {
    this.#stop.abort();
    this.#wake();
    await this.#options.backend.close();
  }

  async #run(): Promise<void> {
    this.#isRunning = true;
    while (this.#works.size > 0 && !this.#stop.signal.aborted) {
      const mayGoOn = await this.#round().catch((error: unknown) => {
        // The engine takes nothing now: it is closing, or has too much to do.
        if (!this.#stop.signal.aborted) this.#options.log.warn('remote jobs could not be looked after', { error });
        return false;
      });
      if (!mayGoOn) await this.#rest();
    }
    this.#isRunning = false;
  }

  /** True when there may be more to do at once. */
  async #round(): Promise<boolean> {
    const { clock } = this.#options;
    if (this.#isPaused()) return false;
    const due: { work: RemoteWork; step: MirrorStep }[] = [];
    let mustLook = false;
    for (const work of this.#works.values()) {
      const step = nextStep(work.mirror, clock.now());
      if (step.kind === 'poll') mustLook = true;
      else if (step.kind !== 'wait' && step.kind !== 'done') due.push({ work, step });
    }
    const now = due.slice(0, SITE_LIMITS.stepsPerRound);
    await Promise.all(now.map(({ work, step }) => this.#take(work, step)));
    await this.#cancelTasks();
    if (mustLook && clock.now() >= this.#lookAt) await this.#look();
    if (clock.now() >= this.#followAt) await this.#follow();
    return due.length > 0;
  }

  #isPaused(): boolean {
    return this.#trouble !== null && this.#options.clock.now() < this.#trouble.retryAt;
  }

  async #take(work: RemoteWork, step: MirrorStep): Promise<void> {
    const { backend } = this.#options;
    const { submission } = work;
    const failed = step.kind === 'submit' ? await this.#stageIn(work, step) : undefined;
    // While files were brought, somebody may have wanted it not to happen.
    if (step.kind === 'submit' && work.mirror.phase.kind !== 'submitting') return;
    const remote = { backend, submission, before: work.mirror.job };
    await this.#advance(work, failed ?? (await performStep(step, remote, this.#stop.signal)));
  }

  async #stageIn(work: RemoteWork, step: MirrorStep): Promise<MirrorResult | undefined> {
    const { backend, artifacts } = this.#options;
    try {
      await stageIn({ files: backend.files, artifacts }, work, this.#stop.signal);
      return undefined;
    } catch (error) {
      const { kind, message } = asHpcError(error, 'bringing files');
      return { kind: 'failed', step, error: { kind, message } };
    }
  }

  /** The states of all jobs, by one call. */
  async #look(): Promise<void> {
    const { backend, clock, target } = this.#options;
    const watched = new Map<string, RemoteWork>();
    for (const work of this.#works.values()) {
      if (work.mirror.phase.kind === 'watching') watched.set(work.mirror.phase.remoteId, work);
    }
    const signal = this.#stop.signal;
    this.#lookAt = clock.now() + target.period.minMs;
    try {
      const jobs = await backend.statusOf([...watched.keys()], signal);
      for (const [id, work] of watched) {
        const remote = { backend, submission: work.submission, before: work.mirror.job };
        await this.#advance(work, { kind: 'status', job: await judge(jobs.get(id), remote, signal) });
      }
    } catch (error) {
      signal.throwIfAborted();
      const { kind, message } = asHpcError(error, 'looking at jobs');
      for (const [remoteId, work] of watched) {
        await this.#advance(work, { kind: 'failed', step: { kind: 'poll', remoteId }, error: { kind, message } });
      }
    }
  }

  async #advance(work: RemoteWork, result: MirrorResult): Promise<void> {
    const { clock, target, engine, nodeId, log } = this.#options;
    const idBefore = idOf(work);
    work.mirror = afterStep(work.mirror, result, { now: clock.now(), period: target.period });
    const { trouble } = work.mirror;
    if (trouble && trouble.kind !== this.#trouble?.kind) {
      log.warn('a remote batch system does not do as told', {
        target: nodeId,
        kind: trouble.kind,
        reason: trouble.message,
      });
    }
    if (trouble || result.kind !== 'failed') this.#trouble = trouble;
    const remoteId = idOf(work);
    const { tag } = work.submission;
    if (remoteId !== null && remoteId !== idBefore) {
      await engine.handle({ type: 'mirrorQueued', tag, remoteId, nodeId });
      log.info('remote job found or submitted', { target: nodeId, tag, remoteId });
    }
    await this.#report(work);
  }

  /** Tells the engine what has changed, and takes care of tasks that have ended. */
  async #report(work: RemoteWork): Promise<void> {
    const inputs: Input[] = [];
    for (const member of work.members.values()) {
      if (member.isFinishing) continue;
      inputs.push(...this.#changesOf(work, member));
      const outcome = outcomeOf(work, member);
      if (!outcome) continue;
      member.isFinishing = true;
      void this.#finish(work, member, outcome);
    }
    if (inputs.length > 0) await this.#options.engine.handleAll(inputs);
  }

  #changesOf(work: RemoteWork, member: Member): Input[] {
    const { clock, nodeId } = this.#options;
    const { allocationId, index } = member;
    const { job } = work.mirror;
    const task = job ? taskOf(job, index, isArray(work)) : undefined;
    const inputs: Input[] = [];
    if (!task) return inputs;
    if (task.nodes !== member.nodes || task.requeueCount !== member.requeueCount) {
      const { nodes, requeueCount } = task;
      Object.assign(member, { nodes, requeueCount });
      inputs.push({ type: 'mirrorMoved', allocationId, nodes, requeueCount });
    }
    if (member.startedAt === null && (task.state === 'running' || task.state === 'completing')) {
      member.startedAt = clock.now();
      inputs.push({ type: 'agentReported', nodeId, report: { allocationId, phase: 'running', ageMs: 0 } });
    }
    return inputs;
  }

  async #finish(work: RemoteWork, member: Member, outcome: MirrorOutcome): Promise<void> {
    const { backend, artifacts, clock, log, engine, nodeId } = this.#options;
    const means = { output: this.#output, carrier: { files: backend.files, artifacts }, clock, log };
    const { allocationId } = member;
    try {
      const end = await finish({ work, member, outcome }, means, this.#stop.signal);
      await engine.handle({ type: 'agentReported', nodeId, report: { allocationId, phase: 'ended', end, ageMs: 0 } });
      work.hasFailed ||= outcome.kind !== 'completed';
      work.members.delete(member.index);
      this.#byAllocation.delete(allocationId);
      if (work.members.size === 0) await this.#forget(work);
    } catch (error) {
      if (!this.#stop.signal.aborted) log.warn('the end of a remote task is not recorded', { allocationId, error });
    }
  }

  async #forget(work: RemoteWork): Promise<void> {
    const { target, backend, log } = this.#options;
    this.#works.delete(work.submission.tag);
    const isKept = target.keep === 'always' || (target.keep === 'failed' && work.hasFailed);
    if (isKept) return;
    const removal = backend.files.remove(work.submission.work, this.#stop.signal);
    await removal.catch((error: unknown) => log.warn('a work directory stays', { work: work.submission.work, error }));
  }

  /** Tasks that are to go while others of their array stay. */
  async #cancelTasks(): Promise<void> {
    const { backend, clock, target } = this.#options;
    for (const work of this.#works.values()) {
      const { mirror } = work;
      if (mirror.phase.kind !== 'watching' || mirror.cancel || !isArray(work)) continue;
      for (const member of work.members.values()) {
        if (member.stopReason === null || member.isFinishing || clock.now() < member.cancelAt) continue;
        member.cancelAt = clock.now() + SITE_LIMITS.cancelAgainMs;
        const id = `${mirror.phase.remoteId}${target.backend === 'sge' ? '.' : '_'}${member.index}`;
        // Asked again until the task has ended; what stands in the way shows at the next look.
        await backend.cancel(id, this.#stop.signal).catch(() => {});
        this.#lookAt = clock.now();
      }
    }
  }

  /** Some of what running tasks have written since, those first that were not looked at for longest. */
  async #follow(): Promise<void> {
    const { clock, target } = this.#options;
    this.#followAt = clock.now() + Math.max(SITE_LIMITS.followMs, target.period.minMs);
    let count = 0;
    for (const work of [...this.#works.values()]) {
      if (count >= SITE_LIMITS.followedPerRound) return;
      this.#works.delete(work.submission.tag);
      this.#works.set(work.submission.tag, work);
      for (const member of [...work.members.values()]) {
        if (member.startedAt === null || member.isFinishing || count >= SITE_LIMITS.followedPerRound) continue;
        count += 1;
        work.members.delete(member.index);
        work.members.set(member.index, member);
        // What cannot be read now is read the next time; the job's state tells of lasting trouble.
        await this.#output.follow(work, member, this.#stop.signal).catch(() => {});
      }
    }
  }

  #rest(): Promise<void> {
    const { clock } = this.#options;
    const now = clock.now();
    let until = Math.max(this.#followAt, now + 1);
    for (const { mirror } of this.#works.values()) {
      const step = nextStep(mirror, now);
      if (step.kind === 'wait') until = Math.min(until, step.until);
      if (step.kind === 'poll') until = Math.min(until, this.#lookAt);
    }
    if (this.#isPaused()) until = this.#trouble?.retryAt ?? until;
    return new Promise((resolve) => {
      const cancel: Cancel = clock.after(Math.max(1, until - now), resolve);
      this.#wake = () => {
        cancel();
        resolve();
      };
    });
  }
}

function memberOf({ members }: RemoteWork, allocationId: AllocationId): Member | undefined {
  for (const member of members.values()) if (member.allocationId === allocationId) return member;
  return undefined;
}

function isArray({ submission }: RemoteWork): boolean {
  return submission.options.array !== undefined;
}

function idOf({ mirror: { phase } }: RemoteWork): string | null {
  return phase.kind === 'watching' || phase.kind === 'ended' ? phase.remoteId : null;
}

/** How the task has ended; undefined while it has not. */
function outcomeOf(work: RemoteWork, { index }: Member): MirrorOutcome | undefined {
  const { phase, job } = work.mirror;
  const task = job ? taskOf(job, index, isArray(work)) : undefined;
  if (task?.state === 'ended' && task.outcome) return task.outcome;
  return phase.kind === 'ended' ? phase.outcome : undefined;
}
