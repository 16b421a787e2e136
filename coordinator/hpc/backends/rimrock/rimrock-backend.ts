import { isRecord } from '../../../../shared/job-spec/findings.js';
import { type HpcBackend, HpcError, type RemoteFiles } from '../../backend.js';
import { jobOfMarks, readMarks } from '../../marks.js';
import { workFolder } from '../../plan-job.js';
import type { RemoteJob, RemoteOutcome, RemoteState } from '../../remote-job.js';
import type { RemoteShell } from '../../shell/remote-shell.js';
import { shellFiles } from '../../shell/shell-files.js';
import { MARKS_FOLDER, type Submission } from '../../submission.js';
import type { HpcTarget } from '../../target.js';
import type { Credential } from '../means.js';
import { checkRoot } from '../site-check.js';
import { sbatchOptions } from '../slurm/sbatch-options.js';
import type { PlgData } from './plgdata.js';
import { callRimrock, type RimrockCall, rimrockService } from './rimrock-call.js';

export interface RimrockOptions {
  readonly target: HpcTarget;
  /** The X.509 proxy certificate, as PEM. */
  readonly credential: Credential;
  /** The login node that is submitted to, as Rimrock calls it. */
  readonly host: string;
  /** To the login node. */
  readonly shell: RemoteShell;
  /** What carries the shell's bytes, where that is a service of its own. */
  readonly plgdata: PlgData | undefined;
}

/**
 * PLGrid's Rimrock, which submits to a cluster's Slurm by HTTP. Source: its public description of /api/jobs.
 *
 * It knows when a job has ended and not how, which the job's own marks tell. `submit` is not idempotent: the lookup by
 * the tag finds what arrived. What Slurm is to know goes into the script.
 */
export function rimrockBackend(options: RimrockOptions): HpcBackend {
  const { target, shell } = options;
  const files = shellFiles(shell);
  const rimrock = rimrockService(target.endpoint ?? '', options.credential);
  const call = (request: RimrockCall, signal: AbortSignal): Promise<unknown> => callRimrock(rimrock, request, signal);
  const jobs = async (query: string, isAsked: (job: Listed) => boolean, signal: AbortSignal): Promise<RemoteJob[]> => {
    const answer = await call({ method: 'GET', path: `/api/jobs${query}` }, signal);
    const list = Array.isArray(answer) ? answer.filter(isRecord).filter(isAsked) : [];
    return Promise.all(list.map((job) => readJob(job, { target, files }, signal)));
  };
  return {
    files,
    check: async (signal) => {
      await jobs('?tag=berth-check', () => false, signal);
      await checkRoot(shell, target, signal);
      await options.plgdata?.list(target.stagingRoot, signal);
      return { system: `Rimrock at ${target.endpoint}`, partitions: [], hasAccounting: false, maxArraySize: null };
    },
    submit: async (submission, signal) => {
      const body = {
        host: options.host,
        tag: submission.tag,
        working_directory: submission.work,
        script: withDirectives(submission),
      };
      const answer = await call({ method: 'POST', path: '/api/jobs', body }, signal);
      if (isRecord(answer) && typeof answer.job_id === 'string' && answer.job_id !== '') return answer.job_id;
      throw new HpcError('configuration', 'Rimrock answered a submission without a job_id');
    },
    find: (tag, signal) => jobs(`?tag=${encodeURIComponent(tag)}`, (job) => job.tag === tag, signal),
    statusOf: async (ids, signal) => {
      if (ids.length === 0) return new Map();
      const found = await jobs('', (job) => ids.includes(String(job.job_id)), signal);
      return new Map(found.map((job) => [job.id, job]));
    },
    cancel: async (id, signal) => {
      try {
        await call({ method: 'PUT', path: `/api/jobs/${encodeURIComponent(id)}`, body: { action: 'abort' } }, signal);
      } catch (error) {
        if (!(error instanceof HpcError) || error.kind !== 'unknown-job') throw error;
      }
    },
    close: () => shell.close(),
  };
}

type Listed = Readonly<Record<string, unknown>>;

interface Marked {
  readonly target: HpcTarget;
  readonly files: RemoteFiles;
}

const STATES: Readonly<Record<string, RemoteState>> = { QUEUED: 'pending', RUNNING: 'running' };

async function readJob(job: Listed, { target, files }: Marked, signal: AbortSignal): Promise<RemoteJob> {
  const word = String(job.status ?? '');
  const id = String(job.job_id);
  const tag = typeof job.tag === 'string' ? job.tag : '';
  const state = STATES[word];
  const known = { id, tag, reason: '', nodes: '', requeueCount: 0, tasks: [] };
  if (state !== undefined) return { ...known, state, outcome: null };
  if (word === 'ABORTED') return { ...known, state: 'ended', outcome: { kind: 'canceled' } };
  const marks = readMarks(await files.list(`${workFolder(target, tag)}/${MARKS_FOLDER}`, signal));
  const told = jobOfMarks(
    marks,
    tag,
    [...marks.tasks.keys()].sort((left, right) => left - right),
  );
  const message = 'Rimrock says that it is over, and it left no status: it was killed, or never began';
  const outcome: RemoteOutcome = { kind: 'unknown', message };
  return told ? { ...told, id } : { ...known, state: 'ended', outcome };
}

/** The options of sbatch as lines of the script, since there is no command line. */
function withDirectives({ script, tag, options }: Submission): string {
  const lines = [`--job-name=${tag}`, ...sbatchOptions(options)].map((option) => `#SBATCH ${option}\n`);
  const head = script.indexOf('\n') + 1;
  return script.slice(0, head) + lines.join('') + script.slice(head);
}
