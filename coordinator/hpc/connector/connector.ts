import type { Clock } from '../../../shared/clock.js';
import { isAppError } from '../../../shared/errors.js';
import { eachIndex, type RangeSet } from '../../../shared/ranges.js';
import type { SecretGrant } from '../../../shared/wire/messages.js';
import { asHpcError, type HpcBackend } from '../backend.js';
import { type Mirror, type MirrorOutcome, newMirror, recovered } from '../mirror.js';
import { afterStep, type MirrorResult, type MirrorStep, nextStep, wantCancel } from '../mirror-policy.js';
import { performStep } from '../perform-step.js';
import { removeSecrets } from '../secret-files.js';
import type { HpcTarget } from '../target.js';
import { indexesOf } from '../witnesses.js';
import { Follower, type Print } from './follow.js';
import type { LoadedJob } from './load-job.js';
import { narrate } from './narrate.js';
import { type ConnectorRecord, type RecordFile, scriptDigest } from './record.js';
import { stageIn, stageOut } from './staging.js';

export interface ConnectorOptions {
  readonly target: HpcTarget;
  readonly job: LoadedJob;
  /** The values of its secrets, asked for when they are sent. */
  readonly grants: () => Promise<readonly SecretGrant[]>;
  readonly backend: HpcBackend;
  readonly clock: Clock;
  readonly file: RecordFile;
  /** Says one thing that has changed, for people. */
  readonly say: (line: string) => void;
  /** Undefined: the tasks' output stays where it is. */
  readonly print: Print | undefined;
  readonly outputFolder: string;
  readonly graceMs: number;
}

/** Output is looked at this often, or as often as the job when that is more. */
const FOLLOW_MS = 2_000;
const MAX_FINAL_PUMPS = 10_000;
/** Tries to have a job's files after its end, at growing distances. */
const MAX_LATE_TRIES = 8;
const LATE_TRY_MS = 1_000;

/** How one job ended, as far as this process knows. */
export type ConnectorEnd =
  | { readonly kind: 'ended'; readonly outcome: MirrorOutcome; readonly missing: readonly string[] }
  /** The grace is over, and the job may still run. */
  | { readonly kind: 'given-up' };

/** One remote job, from its submission to its end. What must not be forgotten is in its record. */
export class Connector {
  readonly #options: ConnectorOptions;
  readonly #follower: Follower | undefined;
  readonly #indexes: RangeSet;
  #record: ConnectorRecord;
  #wake: () => void = () => undefined;
  #graceUntil: number | undefined;
  readonly #stop = new AbortController();

  constructor(options: ConnectorOptions) {
    const { file, job, clock, backend, print } = options;
    const script = scriptDigest(job.submission.script);
    const known = file.load(script);
    const mirror = known ? recovered(known.mirror, clock.now()) : newMirror(job.submission.tag, clock.now());
    this.#options = options;
    this.#record = { script, printed: {}, isFetched: false, ...known, mirror };
    this.#indexes = indexesOf(job.submission);
    const from = { files: backend.files, submission: job.submission };
    this.#follower = print && new Follower(print, from, this.#record.printed);
  }

  get mirror(): Mirror {
    return this.#record.mirror;
  }

  /** Asks for the end of the job. The run ends when it has, or when the grace is over. */
  cancel(): void {
    const { clock, graceMs } = this.#options;
    this.#graceUntil ??= clock.now() + graceMs;
    clock.after(graceMs, () => {
      this.#stop.abort();
      this.#wake();
    });
    this.#record = { ...this.#record, mirror: wantCancel(this.mirror, clock.now()) };
    this.#wake();
  }

  async run(): Promise<ConnectorEnd> {
    const { clock } = this.#options;
    await this.#save();
    for (;;) {
      const step = nextStep(this.mirror, clock.now());
      if (step.kind === 'done') return this.#finish(step.outcome);
      if (this.#graceUntil !== undefined && clock.now() >= this.#graceUntil) return { kind: 'given-up' };
      if (step.kind === 'wait') await this.#wait(step.until);
      else await this.#take(step);
    }
  }

  async #take(step: MirrorStep): Promise<void> {
    const { backend, job, clock, target, say } = this.#options;
    const signal = this.#stop.signal;
    const failed = step.kind === 'submit' ? await this.#stageIn(step) : undefined;
    // While files were brought, somebody may have wanted it not to happen.
    if (step.kind === 'submit' && this.mirror.phase.kind !== 'submitting') return;
    const remote = { backend, submission: job.submission, before: this.mirror.job };
    const result = failed ?? (await performStep(step, remote, signal));
    const before = this.mirror;
    this.#record = { ...this.#record, mirror: afterStep(before, result, { now: clock.now(), period: target.period }) };
    await this.#save();
    for (const line of narrate(before, this.mirror, clock.now())) say(line);
  }

  /** A fault of this side ends the run; one of the other side is trouble like any other. */
  async #stageIn(step: MirrorStep): Promise<MirrorResult | undefined> {
    const { backend, job, grants } = this.#options;
    try {
      await stageIn(backend.files, { ...job, grants: await grants() }, this.#stop.signal);
      return undefined;
    } catch (error) {
      if (isAppError(error)) throw error;
      const { kind, message } = asHpcError(error, 'bringing files');
      return { kind: 'failed', step, error: { kind, message } };
    }
  }

  /** Until the time has come or something is wanted; meanwhile output is followed. */
  async #wait(until: number): Promise<void> {
    const { clock, target } = this.#options;
    const followMs = Math.min(FOLLOW_MS, target.period.minMs);
    while (clock.now() < until && !this.#stop.signal.aborted) {
      const before = this.mirror;
      if (before.phase.kind === 'watching') await this.#follow();
      if (this.mirror === before) await this.#pause(Math.min(followMs, until - clock.now()));
      if (this.mirror !== before) return;
    }
  }

  #pause(delayMs: number): Promise<void> {
    return new Promise((resolve) => {
      const cancel = this.#options.clock.after(delayMs, resolve);
      this.#wake = () => {
        cancel();
        resolve();
      };
    });
  }

  /** What cannot be read now is read the next time; the job's state tells of lasting trouble. */
  async #follow(): Promise<void> {
    const follower = this.#follower;
    if (!follower) return;
    await follower.pump(eachIndex(this.#indexes), this.#stop.signal).catch(() => false);
    const printed = Object.fromEntries(follower.printed);
    if (JSON.stringify(printed) === JSON.stringify(this.#record.printed)) return;
    this.#record = { ...this.#record, printed };
    await this.#save();
  }

  async #finish(outcome: MirrorOutcome): Promise<ConnectorEnd> {
    const { files } = this.#options.backend;
    const { submission, secrets } = this.#options.job;
    const removal = (): Promise<void> => removeSecrets(files, submission, this.#stop.signal);
    if (secrets.length > 0 && !this.#record.isFetched) await this.#late('the removal of its secrets', removal);
    if (outcome.kind === 'refused' || this.#record.isFetched) return { kind: 'ended', outcome, missing: [] };
    const { backend, job, outputFolder, say, target } = this.#options;
    const signal = this.#stop.signal;
    const { work } = job.submission;
    let missing: readonly string[] = [];
    const isFetched = await this.#late('its output', async () => {
      await this.#printRest();
      missing = await stageOut(backend.files, job, { folder: outputFolder, signal });
    });
    const isWanted = target.keep === 'always' || (target.keep === 'failed' && outcome.kind !== 'completed');
    const isKept = !isFetched || isWanted || missing.length > 0;
    if (isKept) say(`its files stay in ${work}`);
    else await this.#late('its work directory', () => backend.files.remove(work, signal));
    this.#record = { ...this.#record, isFetched };
    await this.#save();
    return { kind: 'ended', outcome, missing };
  }

  async #printRest(): Promise<void> {
    for (let count = 0; count < MAX_FINAL_PUMPS; count += 1) {
      if (!(await this.#follower?.pump(eachIndex(this.#indexes), this.#stop.signal))) return;
    }
  }

  /** The job has ended, and nothing is lost by waiting for its files: the network may be away for a while. */
  async #late(what: string, act: () => Promise<void>): Promise<boolean> {
    for (let count = 0; count < MAX_LATE_TRIES && !this.#stop.signal.aborted; count += 1) {
      try {
        await act();
        return true;
      } catch (error) {
        this.#options.say(`${what} cannot be had now: ${asHpcError(error, what).message}`);
        await this.#pause(LATE_TRY_MS * 2 ** count);
      }
    }
    return false;
  }

  #save(): Promise<void> {
    return this.#options.file.save(this.#record);
  }
}
