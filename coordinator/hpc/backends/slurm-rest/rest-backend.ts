import type { Clock } from '../../../../shared/clock.js';
import { isRecord } from '../../../../shared/job-spec/findings.js';
import { type HpcBackend, HpcError, type RemoteFiles } from '../../backend.js';
import type { RemoteJob } from '../../remote-job.js';
import { SUBMITTED_FILE, type Submission } from '../../submission.js';
import type { HpcTarget } from '../../target.js';
import { ask, type HttpRequest, parseJson } from '../http-client.js';
import type { Credential } from '../means.js';
import { checkPartition } from '../site-check.js';
import { slurmLog } from '../slurm/sbatch-options.js';
import { slurmErrorKind } from '../slurm/slurm-errors.js';
import { endedOf, pick } from '../task-rows.js';
import { isSpent } from './json-web-token.js';
import { complaintOf, numberOf, partitionsOf, readJobs, readRecords } from './rest-answers.js';

export interface RestOptions {
  readonly clock: Clock;
  readonly target: HpcTarget;
  readonly credential: Credential;
  /** slurmrestd has no files; they are on a disk of this machine, or reached over SSH. */
  readonly files: RemoteFiles;
  readonly close: () => Promise<void>;
}

/** Newest first. A server has several, and which ones depends on its own version. */
const VERSIONS = ['v0.0.41', 'v0.0.40', 'v0.0.39', 'v0.0.38', 'v0.0.37'] as const;
type ApiVersion = (typeof VERSIONS)[number];

const ENVIRONMENT = { PATH: '/usr/local/bin:/usr/bin:/bin' };

/**
 * Slurm over slurmrestd, with a token in its headers.
 *
 * `submit` is not idempotent: what was sent and not answered may be there, and the lookup finds it. Accounting is asked
 * for where the server has it.
 */
export function restBackend(options: RestOptions): HpcBackend {
  const { target, files } = options;
  const client = new RestClient(options);
  const user = target.user ?? '';
  const queue = async (signal: AbortSignal): Promise<Map<string, RemoteJob>> =>
    readJobs(await client.call({ method: 'GET', path: '/slurm/VERSION/jobs' }, signal), user);
  return {
    files,
    accounting: { endedOf: async (ids, signal) => endedOf(await accountEach(client, { user, ids }, signal), ids) },
    check: (signal) => checkSite(client, target, signal),
    submit: async (submission, signal) => {
      const body = submitBody(submission, await client.version(signal));
      const answer = await client.call({ method: 'POST', path: '/slurm/VERSION/job/submit', body }, signal);
      const id = isRecord(answer) ? numberOf(answer.job_id) : undefined;
      if (id === undefined || id === 0)
        throw new HpcError('configuration', 'slurmrestd answered a submission without an id');
      const mark = Buffer.from(`${id}\n`);
      await files.write(`${submission.work}/${SUBMITTED_FILE}`, mark, { offset: 0, mode: 0o600 }, signal);
      return String(id);
    },
    find: async (tag, signal) => {
      const queued = [...(await queue(signal)).values()].filter((job) => job.tag === tag);
      if (queued.length > 0) return queued;
      // By its name alone: servers before v0.0.39 know no other field that would narrow it down.
      const path = `/jobs?job_name=${encodeURIComponent(tag)}`;
      const accounted = await account(client, { user, path }, signal);
      return [...accounted.values()].filter((job) => job.tag === tag);
    },
    statusOf: async (ids, signal) => pick(await queue(signal), ids),
    cancel: async (id, signal) => {
      try {
        await client.call({ method: 'DELETE', path: `/slurm/VERSION/job/${encodeURIComponent(id)}` }, signal);
      } catch (error) {
        if (!(error instanceof HpcError) || !isGone(error)) throw error;
      }
    },
    close: options.close,
  };
}

function isGone({ kind, message }: HpcError): boolean {
  return kind === 'unknown-job' || /already completed|already completing/i.test(message);
}

interface Call {
  readonly method: HttpRequest['method'];
  /** With VERSION where the version stands. */
  readonly path: string;
  readonly body?: unknown;
}

class RestClient {
  readonly #target: HpcTarget;
  readonly #credential: Credential;
  readonly #clock: Clock;
  #version: ApiVersion | undefined;

  constructor({ target, credential, clock }: RestOptions) {
    this.#target = target;
    this.#credential = credential;
    this.#clock = clock;
  }

  /** The newest version that both sides know, found by trial: where a server describes itself differs by version too. */
  async version(signal: AbortSignal): Promise<ApiVersion> {
    if (this.#version) return this.#version;
    for (const version of VERSIONS) {
      const { status } = await this.#send({ method: 'GET', path: `/slurm/${version}/ping` }, signal);
      if (status === 404) continue;
      if (status < 500) this.#version = version;
      return version;
    }
    throw new HpcError(
      'configuration',
      `${this.#target.endpoint} is no slurmrestd that knows one of ${VERSIONS.join(', ')}`,
    );
  }

  /** The answer's body. Throws for what it complains about. */
  async call(call: Call, signal: AbortSignal): Promise<unknown> {
    const version = await this.version(signal);
    const versioned = { ...call, path: call.path.replace('VERSION', version) };
    let { status, body } = await this.#send(versioned, signal);
    if (mayBeToken(status, body) && this.#credential.reject()) ({ status, body } = await this.#send(versioned, signal));
    const answer = parseJson(body);
    if (status >= 200 && status < 300) {
      const complaint = complaintOf(answer);
      if (complaint !== undefined) throw new HpcError(slurmErrorKind(complaint), complaint);
      if (answer === undefined) throw new HpcError('configuration', `${this.#target.endpoint} answers no JSON`);
      return answer;
    }
    const error = errorOf(status, body);
    const isToken = mayBeToken(status, body) && isSpent(await this.#credential.read(signal), this.#clock.now());
    throw isToken ? new HpcError('credentials', `the token has expired, or is none: ${error.message}`) : error;
  }

  async #send({ method, path, body }: Call, signal: AbortSignal): Promise<{ status: number; body: Buffer }> {
    const { endpoint, user } = this.#target;
    const headers = {
      'x-slurm-user-name': user ?? '',
      'x-slurm-user-token': await this.#credential.read(signal),
      ...(body === undefined ? {} : { 'content-type': 'application/json' }),
    };
    const text = body === undefined ? {} : { body: JSON.stringify(body) };
    return ask({ method, url: `${endpoint}${path}`, headers, ...text }, signal);
  }
}

/**
 * slurmrestd passes a token on to the controller. A token that has expired and a controller that is down then read the
 * same, as an unspecified error (seen in 22.05): the token itself says which it is.
 */
function mayBeToken(status: number, body: Buffer): boolean {
  return (
    status === 401 ||
    status === 403 ||
    (status === 500 && /unspecified error|error -1\b/i.test(complaintOf(parseJson(body)) ?? ''))
  );
}

function errorOf(status: number, body: Buffer): HpcError {
  if (status === 401 || status === 403)
    return new HpcError('credentials', `slurmrestd does not take the token (${status})`);
  const complaint = complaintOf(parseJson(body));
  // An error without a complaint of Slurm's is one of a proxy, or of a server that is just being started.
  if (complaint === undefined) return new HpcError('unavailable', `slurmrestd answers ${status}`);
  return new HpcError(slurmErrorKind(complaint), complaint);
}

/** The interface tells of one job at a time, and few are forgotten between two rounds. */
async function accountEach(
  client: RestClient,
  { user, ids }: { readonly user: string; readonly ids: readonly string[] },
  signal: AbortSignal,
): Promise<Map<string, RemoteJob>> {
  const found = new Map<string, RemoteJob>();
  for (const id of ids) {
    const job = (await account(client, { user, path: `/job/${encodeURIComponent(id)}` }, signal)).get(id);
    if (job) found.set(id, job);
  }
  return found;
}

/** A server without a database has no such address, or says that it has none. A broken answer says nothing. */
async function account(
  client: RestClient,
  { user, path }: { readonly user: string; readonly path: string },
  signal: AbortSignal,
): Promise<Map<string, RemoteJob>> {
  try {
    return readRecords(await client.call({ method: 'GET', path: `/slurmdb/VERSION${path}` }, signal), user);
  } catch (error) {
    if (error instanceof HpcError && (error.kind === 'unknown-job' || knowsNothing(error.message))) return new Map();
    throw error;
  }
}

function knowsNothing(message: string): boolean {
  return (
    message === 'slurmrestd answers 404' || /accounting storage is disabled|not found|nothing found/i.test(message)
  );
}

async function checkSite(client: RestClient, target: HpcTarget, signal: AbortSignal): ReturnType<HpcBackend['check']> {
  const answer = await client.call({ method: 'GET', path: '/slurm/VERSION/partitions' }, signal);
  const partitions = partitionsOf(answer);
  checkPartition(target, partitions);
  const version = await client.version(signal);
  const hasAccounting = await tellsOfJobs(client, signal);
  return { system: `slurmrestd, ${version}`, partitions, hasAccounting, maxArraySize: null };
}

/** Whether it has an accounting that answers: of a job that is not there, it says so. */
async function tellsOfJobs(client: RestClient, signal: AbortSignal): Promise<boolean> {
  try {
    await client.call({ method: 'GET', path: '/slurmdb/VERSION/job/1' }, signal);
    return true;
  } catch (error) {
    return error instanceof HpcError && /nothing found/i.test(error.message);
  }
}

function submitBody({ tag, work, script, options }: Submission, version: ApiVersion): unknown {
  const isNew = version !== 'v0.0.37' && version !== 'v0.0.38';
  const number = (value: number): unknown => (isNew ? { set: true, number: value } : value);
  const { gpus, licences, maxParallel } = options;
  const gres = gpus && `gpu:${gpus.model === null ? '' : `${gpus.model}:`}${gpus.count}`;
  const job = {
    name: tag,
    environment: isNew ? Object.entries(ENVIRONMENT).map((pair) => pair.join('=')) : ENVIRONMENT,
    current_working_directory: work,
    standard_output: `${work}/${slurmLog(options)}`,
    ...(options.account === undefined ? {} : { account: options.account }),
    ...(options.partition === undefined ? {} : { partition: options.partition }),
    ...(options.cpus === undefined ? {} : { cpus_per_task: options.cpus }),
    ...(options.memoryMiB === undefined ? {} : { memory_per_node: number(options.memoryMiB) }),
    ...(options.diskMiB === undefined ? {} : { temporary_disk_per_node: options.diskMiB }),
    ...(gres === undefined ? {} : { tres_per_node: gres }),
    ...(licences === undefined
      ? {}
      : {
          licenses: Object.entries(licences)
            .map((pair) => pair.join(':'))
            .join(','),
        }),
    ...(options.isExclusive ? { exclusive: isNew ? ['true'] : 'true' } : {}),
    ...(options.timeLimitMs === undefined ? {} : { time_limit: number(Math.ceil(options.timeLimitMs / 60_000)) }),
    ...(options.array === undefined
      ? {}
      : { array: `${options.array}${maxParallel === undefined ? '' : `%${maxParallel}`}` }),
    ...(options.mayRequeue === undefined ? {} : { requeue: options.mayRequeue === 'yes' }),
  };
  return { script, job };
}
