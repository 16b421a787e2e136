import type { HpcBackend } from '../../coordinator/hpc/backend.js';
import { planJob } from '../../coordinator/hpc/plan-job.js';
import { parseTarget } from '../../coordinator/hpc/read-target.js';
import type { RemoteJob, RemoteState } from '../../coordinator/hpc/remote-job.js';
import { outputFile, SCRIPT_FILE, type Submission } from '../../coordinator/hpc/submission.js';
import type { HpcTarget } from '../../coordinator/hpc/target.js';
import { present } from '../../shared/assert.js';
import { isRefusal } from '../../shared/errors.js';
import { parseJobSpec } from '../../shared/job-spec/parse.js';
import { until } from './until.js';

/** One site at which a backend works; the backend may be opened any number of times. */
export interface HpcBench {
  /** As a target's file has it, without `stagingRoot`. */
  readonly target: Readonly<Record<string, unknown>>;
  readonly stagingRoot: string;
  open(target: HpcTarget): HpcBackend;
  /** A partition in which jobs wait; absent where the site has none. */
  readonly closedPartition?: string;
  /** Makes the controller forget jobs that have ended; absent where it cannot be made to. */
  readonly forget?: (remoteId: string) => Promise<void>;
  /** Takes the controller away and gives it back. */
  readonly outage?: { begin(): void | Promise<void>; end(): void | Promise<void> };
  /** It says when jobs would start that have not been submitted. */
  readonly estimates?: true;
  readonly differs?: {
    /** Two submissions with one tag are two jobs. */
    readonly submitsTwice?: true;
    /** A submission looks for no job by itself: only the id that an earlier one has left holds it back. */
    readonly submitsBlindly?: true;
    /** A canceled job reads as one that has failed by a signal. */
    readonly cancelIsSignal?: true;
    /** A job that was canceled while it waited is known to nobody afterwards. */
    readonly forgetsWaiting?: true;
    /** It knows that a job has ended, and nothing of how. */
    readonly outcomesAreMarks?: true;
    /** Partitions are not known before a submission, or at all. */
    readonly hasNoPartitions?: true;
  };
}

const CANCEL_AGAIN_MS = 10_000;
const signal = new AbortController().signal;

interface JobWish {
  readonly script: string;
  readonly array?: string;
  readonly partition?: string;
  readonly fields?: Readonly<Record<string, unknown>>;
}

let tagCount = 0;

/** A site and the jobs that a test has there. */
export class HpcSite {
  readonly bench: HpcBench;
  readonly backend: HpcBackend;

  constructor(bench: HpcBench) {
    this.bench = bench;
    this.backend = bench.open(this.target());
  }

  target(more: Readonly<Record<string, unknown>> = {}): HpcTarget {
    const target = parseTarget({ ...this.bench.target, stagingRoot: this.bench.stagingRoot, ...more });
    if (isRefusal(target)) throw new Error(target.detail);
    return target;
  }

  plan({ script, array, partition, fields }: JobWish): Submission {
    tagCount += 1;
    const spec = parseJobSpec({
      script,
      resources: { memory: '16MiB' },
      ...fields,
      ...(array === undefined ? {} : { array }),
    });
    if (isRefusal(spec)) throw new Error(spec.detail);
    const tag = `t${process.pid}-${tagCount}`;
    const submission = planJob(spec, this.target(partition === undefined ? {} : { partition }), { tag });
    if (isRefusal(submission)) throw new Error(submission.detail);
    return submission;
  }

  async prepare(submission: Submission): Promise<void> {
    const path = `${submission.work}/${SCRIPT_FILE}`;
    await this.backend.files.write(path, Buffer.from(submission.script), { offset: 0, mode: 0o700 }, signal);
  }

  async submit(wish: JobWish): Promise<{ id: string; submission: Submission }> {
    const submission = this.plan(wish);
    await this.prepare(submission);
    return { id: await this.backend.submit(submission, signal), submission };
  }

  async status(id: string): Promise<RemoteJob | undefined> {
    return (await this.statuses([id])).get(id);
  }

  /** Where ended jobs are told of by accounting alone, by that. */
  async statuses(ids: readonly string[]): Promise<Map<string, RemoteJob>> {
    const found = await this.backend.statusOf(ids, signal);
    const missing = ids.filter((id) => !found.has(id));
    const accounted = missing.length === 0 ? [] : ((await this.backend.accounting?.endedOf(missing, signal)) ?? []);
    return new Map([...found, ...accounted]);
  }

  /** Told again and again, as a mirror does it: while a job is being started, some systems do not hear it. */
  async canceled(id: string): Promise<RemoteJob> {
    let toldAt = Number.NEGATIVE_INFINITY;
    let job: RemoteJob | undefined;
    await until(`job ${id} is canceled`, async () => {
      if (performance.now() - toldAt >= CANCEL_AGAIN_MS) {
        toldAt = performance.now();
        await this.backend.cancel(id, signal);
      }
      job = await this.status(id);
      return job?.state === 'ended';
    });
    return present(job, 'the canceled job');
  }

  async reaches(id: string, ...states: readonly RemoteState[]): Promise<RemoteJob> {
    let job: RemoteJob | undefined;
    await until(`job ${id} is ${states}`, async () => {
      job = await this.status(id);
      return job !== undefined && states.includes(job.state);
    });
    return present(job, 'the job');
  }

  async output({ work }: Submission, index = 0, stream: 'out' | 'err' = 'out', offset = 0): Promise<string | null> {
    const part = { offset, maxBytes: 65_536 };
    const bytes = await this.backend.files.read(`${work}/${outputFile(index, stream)}`, part, signal);
    return bytes && Buffer.from(bytes).toString();
  }
}
