import { type Clock, type EpochMs, sleep } from '../../../shared/clock.js';
import type { AllocationId, NodeId } from '../../../shared/ids.js';
import type { Log } from '../../../shared/log.js';
import type { StopReason } from '../../../shared/outcome.js';
import type { ArtifactStore } from '../../artifacts/artifact-store.js';
import type { EngineHandle } from '../../engine/handle.js';
import type { Input } from '../../engine/inputs.js';
import { asHpcError, type HpcBackend } from '../backend.js';
import type { MirrorOutcome, MirrorTrouble } from '../mirror.js';
import { afterStep, type MirrorResult, type MirrorStep, nextStep } from '../mirror-policy.js';
import type { HpcTarget } from '../target.js';
import { outcomeOf } from './ends.js';
import { finish, removeFiles } from './finish.js';
import { cancelTasks, changesOf, followOutput, lookAtAll } from './follow.js';
import { Output, type OutputSink } from './output.js';
import { type Member, type RemoteState, type RemoteWork, remoteIdOf, stateOf, stopMember } from './remote-work.js';
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
  /** Submissions and cancellations between two looks at the states. */
  stepsPerRound: 8,
  followMs: 2_000,
  /** What is set up wrongly may be mended meanwhile. */
  checkAgainMs: 10_000,
  /** What is asked before a submission is waited for so long. */
  askMs: 5_000,
} as const;

/**
 * All remote jobs of one account at one target: one loop, so that however many there are their states cost one call a
 * period. While the site does not answer, or does not let us in, nothing is asked of it but now and then.
 */
export class Site {
  readonly #options: SiteOptions;
  readonly #output: Output;
  readonly #works = new Works();
  readonly #stop = new AbortController();
  #trouble: MirrorTrouble | null = null;
  #maxArraySize: number | null = null;
  #wasAsked = false;
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
    this.#works.add(work);
    this.#wake();
    if (!this.#isRunning) void this.#run();
  }

  /** Why nothing can be asked of it for now; null when it can. */
  get trouble(): MirrorTrouble | null {
    return this.#trouble;
  }

  /** What is set up wrongly; undefined when nothing is, or when that cannot be known now. */
  async fault(): Promise<string | undefined> {
    const { clock, backend } = this.#options;
    const { at, found } = this.#checked ?? { at: Number.NEGATIVE_INFINITY, found: undefined };
    if (found && clock.now() - at < SITE_LIMITS.checkAgainMs) return found;
    const check = backend.check(this.#stop.signal).then(
      ({ maxArraySize }) => {
        this.#maxArraySize = maxArraySize;
        return undefined;
      },
      (error: unknown) => {
        const { kind, message } = asHpcError(error, 'looking at the site');
        return kind === 'configuration' || kind === 'refused' ? message : undefined;
      },
    );
    this.#checked = { at: clock.now(), found: check };
    return check;
  }

  /** As the site says; asked for once, and null while it is not known. */
  async maxArraySize(): Promise<number | null> {
    const isFirst = !this.#wasAsked;
    this.#wasAsked = true;
    if (isFirst) await Promise.race([this.fault(), sleep(this.#options.clock, SITE_LIMITS.askMs)]);
    return this.#maxArraySize;
  }

  /** False when the attempt is none of this site's. */
  stop(allocationId: AllocationId, reason: StopReason): boolean {
    const found = this.#works.find(allocationId);
    if (!found) return false;
    stopMember(found.work, found.member, { reason, now: this.#options.clock.now() });
    this.#wake();
    return true;
  }

  stateOf(allocationId: AllocationId): RemoteState | undefined {
    const found = this.#works.find(allocationId);
    const { nodeId, clock } = this.#options;
    return found && stateOf(found.work, found.member.index, { target: nodeId, now: clock.now() });
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
    if (await cancelTasks(this.#works, this.#options, this.#stop.signal)) this.#lookAt = clock.now();
    if (mustLook && clock.now() >= this.#lookAt) await this.#look();
    if (clock.now() >= this.#followAt) await this.#follow();
    return due.length > 0;
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
    const means = { output: this.#output, carrier: { files, artifacts }, clock, log };
    const { allocationId } = member;
    try {
      const end = await finish({ work, member, outcome }, means, this.#stop.signal);
      await engine.handle({ type: 'agentReported', nodeId, report: { allocationId, phase: 'ended', end, ageMs: 0 } });
      work.hasFailed ||= outcome.kind !== 'completed';
      const hasMore = this.#works.removeMember(work, member);
      if (!hasMore) await removeFiles(work, { files, target, log }, this.#stop.signal);
    } catch (error) {
      if (!this.#stop.signal.aborted) log.warn('the end of a remote task is not recorded', { allocationId, error });
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
      const cancel = clock.after(Math.max(1, until - now), resolve);
      this.#wake = () => {
        cancel();
        resolve();
      };
    });
  }
}
