import { isRecord } from '../../../../shared/job-spec/findings.js';
import { type HpcBackend, HpcError, type RemoteFiles } from '../../backend.js';
import { jobOfMarks, readMarks } from '../../marks.js';
import { workFolder } from '../../plan-job.js';
import type { RemoteJob, RemoteOutcome, RemoteState } from '../../remote-job.js';
import { MARKS_FOLDER, type Submission } from '../../submission.js';
import type { HpcTarget } from '../../target.js';
import { ask, parseJson } from '../http-client.js';
import type { Credential } from '../means.js';
import { sbatchOptions } from '../slurm/sbatch-options.js';
import { slurmErrorKind } from '../slurm/slurm-errors.js';

export interface RimrockOptions {
  readonly target: HpcTarget;
  /** The X.509 proxy certificate, as PEM. */
  readonly credential: Credential;
  readonly files: RemoteFiles;
  readonly close: () => Promise<void>;
}

/**
 * PLGrid's Rimrock, which submits to a cluster's Slurm by HTTP. Source: its public description of /api/jobs.
 *
 * It knows when a job has ended and not how, which the job's own marks tell. `submit` is not idempotent: the lookup by
 * the tag finds what arrived. What Slurm is to know goes into the script.
 */
export function rimrockBackend(options: RimrockOptions): HpcBackend {
  const { target, files } = options;
  const call = (request: Request, signal: AbortSignal): Promise<unknown> => send(options, request, signal);
  const jobs = async (query: string, isAsked: (job: Listed) => boolean, signal: AbortSignal): Promise<RemoteJob[]> => {
    const answer = await call({ method: 'GET', path: `/api/jobs${query}` }, signal);
    const list = Array.isArray(answer) ? answer.filter(isRecord).filter(isAsked) : [];
    return Promise.all(list.map((job) => readJob(job, options, signal)));
  };
  return {
    files,
    check: async (signal) => {
      await jobs('?tag=berth-check', () => false, signal);
      await files.list(target.stagingRoot, signal);
      return { system: `Rimrock at ${target.endpoint}`, partitions: [], hasAccounting: false, maxArraySize: null };
    },
    submit: async (submission, signal) => {
      const body = {
        host: target.ssh?.host,
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
    close: options.close,
  };
}

type Listed = Readonly<Record<string, unknown>>;

interface Request {
  readonly method: 'GET' | 'POST' | 'PUT';
  readonly path: string;
  readonly body?: unknown;
}

async function send({ target, credential }: RimrockOptions, request: Request, signal: AbortSignal): Promise<unknown> {
  const proxy = Buffer.from(`${await credential.read(signal)}\n`).toString('base64');
  const { status, body } = await ask(
    {
      method: request.method,
      url: `${target.endpoint}${request.path}`,
      headers: { PROXY: proxy, ...(request.body === undefined ? {} : { 'content-type': 'application/json' }) },
      ...(request.body === undefined ? {} : { body: JSON.stringify(request.body) }),
    },
    signal,
  );
  const answer = parseJson(body);
  if (status >= 200 && status < 300) return answer;
  const said = isRecord(answer)
    ? [answer.error_message, answer.error_output].filter((text) => typeof text === 'string')
    : [];
  throw failure(status, said.join(' / '));
}

function failure(status: number, said: string): HpcError {
  if (status === 401 || status === 403)
    return new HpcError('credentials', `Rimrock does not take the proxy: ${said || status}`);
  if (status === 404) return new HpcError('unknown-job', said || 'Rimrock knows no such job');
  if (said === '') return new HpcError('unavailable', `Rimrock answers ${status}`);
  return new HpcError(/proxy|certificate/i.test(said) ? 'credentials' : slurmErrorKind(said), said);
}

const STATES: Readonly<Record<string, RemoteState>> = { QUEUED: 'pending', RUNNING: 'running' };

async function readJob(job: Listed, { target, files }: RimrockOptions, signal: AbortSignal): Promise<RemoteJob> {
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
