import type { Cancel, Clock } from '../../../shared/clock.js';
import { isRefusal } from '../../../shared/errors.js';
import type { JobSpec, StepSpec, TargetName } from '../../../shared/job-spec/spec.js';
import type { Log } from '../../../shared/log.js';
import type { EngineHandle } from '../../engine/handle.js';
import { isTarget } from '../../model/mirror.js';
import { type ClusterView, stepOf } from '../../model/state.js';
import type { OutlookRequest, SiteOutlook } from '../../routing/outlook.js';
import type { UnsubmittedJob } from '../backend.js';
import { troubleWords } from '../mirror.js';
import type { TargetSpec } from '../read-targets.js';
import { OUTLOOK_LIMITS, type Outlooks } from './outlooks.js';
import type { Site } from './site.js';
import { submissionToCome } from './submission-of.js';

/** One account at one target. */
export interface ForeseenSite {
  readonly site: Pick<Site, 'trouble'>;
  readonly outlooks: Outlooks;
}

export interface ForesightOptions {
  readonly engine: Pick<EngineHandle, 'handle'> & { readonly view: ClusterView };
  readonly targetOf: (name: TargetName) => TargetSpec | undefined;
  readonly siteOf: (name: TargetName, namespace: string) => ForeseenSite | undefined;
  readonly clock: Clock;
  readonly log: Log;
}

/** Waiting steps that are asked about in one round. */
const MAX_STEPS = 256;

/**
 * What batch systems expect of steps that may go there or elsewhere: asked before such a job is accepted, and again and
 * again while it waits.
 */
export class Foresight {
  readonly #options: ForesightOptions;
  /** What to ask for a step at a target; undefined for what cannot go there. */
  readonly #questions = new WeakMap<StepSpec, Map<TargetName, UnsubmittedJob | undefined>>();
  #cancel: Cancel = () => {};
  #isClosed = false;

  constructor(options: ForesightOptions) {
    this.#options = options;
  }

  begin(): void {
    void this.#round();
  }

  /** Resolves when all targets have been asked that a step of the job has a choice of. */
  async ask(spec: JobSpec): Promise<void> {
    const open = spec.steps.filter(({ targets }) => (targets?.length ?? 0) > 1);
    await this.#ask(open.map((step) => ({ spec, step })));
  }

  outlookOf({ spec, step, target }: OutlookRequest): SiteOutlook | undefined {
    const known = this.#options.targetOf(target);
    const found = this.#options.siteOf(target, spec.namespace);
    const question = known && this.#questionOf({ spec, step, target }, known);
    if (!known || !found) return undefined;
    const { site, outlooks } = found;
    const ofJobs = site.trouble && troubleWords(site.trouble);
    const { pricePerCoreHour } = known;
    const said = question ? outlooks.of(question) : null;
    const refused = said?.kind === 'refused' ? `does not take it: ${said.message}` : null;
    const estimate = said?.kind === 'starts' ? { by: outlooks.by, waitMs: said.waitMs } : null;
    return { pricePerCoreHour, trouble: ofJobs ?? outlooks.trouble ?? refused, estimate };
  }

  close(): void {
    this.#isClosed = true;
    this.#cancel();
  }

  /** For all that waits and may go to a batch system; then the engine compares anew. */
  async #round(): Promise<void> {
    const { engine, clock, log } = this.#options;
    const steps: Omit<OutlookRequest, 'target'>[] = [];
    for (const ref of engine.view.index.reroutable.values()) {
      const spec = engine.view.jobs.get(ref.jobId)?.spec;
      const step = stepOf(engine.view, ref);
      if (spec && step) steps.push({ spec, step: step.spec });
      if (steps.length >= MAX_STEPS) break;
    }
    try {
      await this.#ask(steps);
      if (steps.length > 0 && !this.#isClosed) await engine.handle({ type: 'outlookChanged' });
    } catch (error) {
      if (!this.#isClosed) log.warn('targets could not be compared', { error });
    }
    if (!this.#isClosed) this.#cancel = clock.after(OUTLOOK_LIMITS.validMs, () => void this.#round());
  }

  async #ask(steps: readonly Omit<OutlookRequest, 'target'>[]): Promise<void> {
    const bySite = new Map<Outlooks, UnsubmittedJob[]>();
    for (const { spec, step } of steps) {
      for (const target of (step.targets ?? []).filter(isTarget)) {
        const known = this.#options.targetOf(target);
        const outlooks = this.#options.siteOf(target, spec.namespace)?.outlooks;
        const question = known && this.#questionOf({ spec, step, target }, known);
        if (outlooks && question) bySite.set(outlooks, [...(bySite.get(outlooks) ?? []), question]);
      }
    }
    await Promise.all([...bySite].map(([outlooks, questions]) => outlooks.ask(questions)));
  }

  #questionOf({ spec, step, target }: OutlookRequest, known: TargetSpec): UnsubmittedJob | undefined {
    const ofStep = this.#questions.get(step) ?? new Map<TargetName, UnsubmittedJob | undefined>();
    this.#questions.set(step, ofStep);
    if (!ofStep.has(target)) {
      const submission = submissionToCome({ spec, step }, known.target);
      ofStep.set(target, isRefusal(submission) ? undefined : asked(submission));
    }
    return ofStep.get(target);
  }
}

/** One task, without what no scheduler reads, so that jobs of one kind are asked about once. */
function asked({ script, options: { array: _, maxParallel: __, ...options } }: UnsubmittedJob): UnsubmittedJob {
  const directives = script.split('\n').filter((line) => /^#SBATCH\s+(?!-a|--array)/.test(line));
  return { options, script: ['#!/bin/sh', ...directives, ''].join('\n') };
}
