import { readFile } from 'node:fs/promises';
import { homedir } from 'node:os';
import { join, resolve } from 'node:path';
import { describeSettings, type GivenValues, type Settings, Unfit } from '../shared/config.js';
import { DAEMON_SETTINGS, parseText, readDaemonSettings } from '../shared/daemon-config.js';
import { AppError, isRefusal, type Refusal } from '../shared/errors.js';
import { type Limits, NO_LIMITS, type Packing } from '../shared/limits.js';
import { parseLicences, parsePreemption, parseQuotas, parseWeights } from '../shared/limits-config.js';
import type { PoolSpec } from '../shared/pool.js';
import { parsePoolsText } from '../shared/pool-spec/text.js';
import { didYouMean } from '../shared/suggest.js';
import { readServiceEnvironment, type ServiceEnvironment } from '../shared/systemd.js';
import { parseDuration, parseMiB } from '../shared/units.js';
import { parseTargetsText, type TargetsFile } from './hpc/read-targets.js';

/** How `berth coordinator` is set up, parsed once. */
export interface CoordinatorConfig {
  readonly stateDir: string;
  readonly host: string;
  /** 0: any free port; `coordinator.json` in the state directory says which. */
  readonly port: number;
  readonly tls: TlsFiles | null;
  readonly nodeLeaseMs: number;
  /** How long an archived job, and what its tasks wrote, is kept from its end on. */
  readonly keepJobsMs: number;
  readonly limits: Limits;
  /** Where tasks go when several nodes have room. */
  readonly packing: Packing;
  /** What is kept of each output stream of a task. */
  readonly maxStreamBytes: number;
  /** What secrets are sealed with. */
  readonly secretsKey: SecretsKey;
  /** Pools of machines; none when empty. */
  readonly pools: readonly PoolSpec[];
  /** Remote batch systems that jobs may name; none when empty. */
  readonly targets: TargetsFile;
  /** Where the agents of new machines reach us; null: where we listen. */
  readonly publicUrl: string | null;
  /** A file of the certificates (PEM) that they are to trust there; null: those of their system. */
  readonly publicCa: string | null;
  /** Where providers may find credentials, as their own tools do. */
  readonly environment: Readonly<Record<string, string | undefined>>;
  readonly logLevel: string;
  /** Null when no service manager started us. */
  readonly service: ServiceEnvironment | null;
}

/** PEM files; the certificate's is followed by those of its issuers, if any. */
export interface TlsFiles {
  readonly certFile: string;
  readonly keyFile: string;
}

/** A key's text, or the file that it is kept in. */
export type SecretsKey =
  | { readonly kind: 'given'; readonly text: string }
  | { readonly kind: 'file'; readonly path: string };

const DEFAULT_LISTEN = { host: '127.0.0.1', port: 7878 };
/** As long as Slurm waits for a silent node (SlurmdTimeout). */
const DEFAULT_NODE_LEASE_MS = 5 * 60 * 1000;
const DAY_MS = 24 * 60 * 60 * 1000;
const DEFAULT_KEEP_JOBS_MS = 30 * DAY_MS;

const MIB = 1024 ** 2;
const DEFAULT_MAX_STREAM_BYTES = 1024 * MIB;

const SETTINGS = {
  stateDir: { parse: parseText, placeholder: 'DIR', help: 'where the log, the tokens and the task logs live' },
  listen: {
    parse: parseListen,
    placeholder: 'HOST:PORT',
    help: 'address to serve on (127.0.0.1:7878); port 0: any free one',
  },
  tlsCert: { parse: parseText, placeholder: 'FILE', help: 'serve HTTPS with this certificate (PEM, with its chain)' },
  tlsKey: { parse: parseText, placeholder: 'FILE', help: "the certificate's private key (PEM)" },
  nodeLease: {
    parse: parseLease,
    placeholder: 'DURATION',
    help: 'how long a silent node is believed before its tasks are lost (5m)',
  },
  logLimit: {
    parse: parseLogLimit,
    placeholder: 'SIZE',
    help: 'what is kept of each output stream of a task; a job may ask for less (1GiB)',
  },
  packing: {
    parse: parsePacking,
    placeholder: 'POLICY',
    help: 'pack: fill nodes that are in use; spread: use those with most free (pack)',
  },
  keepJobs: {
    parse: parseKeep,
    placeholder: 'DURATION',
    help: 'how long finished jobs and their output are kept beyond the newest ones (30d)',
  },
  quotas: {
    parse: parseQuotas,
    placeholder: 'OWNER=LIMITS',
    help: 'what namespace:NAME, user:NAME or all jobs of a name, job:NAME, may hold: cpus=64,memory=1TiB,gpus=8,tasks=500,queued=10000; * is each of the others',
    isRepeatable: true,
  },
  weights: {
    parse: parseWeights,
    placeholder: 'OWNER=WEIGHT',
    help: 'shares of namespace:NAME among namespaces and user:NAME within one (1)',
    isRepeatable: true,
  },
  licences: {
    parse: parseLicences,
    placeholder: 'NAME=COUNT',
    help: 'licences of the whole cluster',
    isRepeatable: true,
  },
  preemption: {
    parse: parsePreemption,
    placeholder: 'CLASS=CLASS',
    help: 'high=low: tasks of that priority and above may have those of low and below stopped and requeued',
    isRepeatable: true,
  },
  pools: {
    parse: parseText,
    placeholder: 'FILE',
    help: 'pools of machines to start and stop as they are needed (YAML)',
  },
  targets: {
    parse: parseText,
    placeholder: 'FILE',
    help: 'remote batch systems that jobs may name as hpc/NAME (YAML)',
  },
  publicUrl: {
    parse: parseUrl,
    placeholder: 'URL',
    help: 'where the agents of such machines reach this coordinator (where it listens)',
  },
  publicCa: {
    parse: parseText,
    placeholder: 'FILE',
    help: "certificates that they are to trust there (PEM; their system's own)",
  },
  secretsKeyFile: {
    parse: parseText,
    placeholder: 'FILE',
    help: 'key that secrets are sealed with (secrets.key in the state directory, made when missing)',
  },
  ...DAEMON_SETTINGS,
} as const satisfies Settings;

export const COORDINATOR_HELP = `Usage: berth coordinator [flags]

Runs the coordinator daemon. Every flag is also a variable (--state-dir: BERTH_COORDINATOR_STATE_DIR)
and a key of the configuration file (stateDir). A flag wins over a variable, a variable over the file.
Instead of a key file, the variable BERTH_COORDINATOR_SECRETS_KEY may hold the key itself.

${describeSettings(SETTINGS)}`;

/** Throws `invalid-request` with every problem found. */
export async function readCoordinatorConfig(
  argv: readonly string[],
  env: Readonly<Record<string, string | undefined>>,
): Promise<CoordinatorConfig> {
  const values = await readDaemonSettings(SETTINGS, { argv, env, envPrefix: 'BERTH_COORDINATOR' });
  // Agents of machines that we start ourselves have working directories of their own.
  const stateDir = resolve(values.stateDir ?? join(homedir(), '.berth', 'coordinator'));
  return {
    stateDir,
    ...(values.listen ?? DEFAULT_LISTEN),
    tls: tlsOf(values),
    nodeLeaseMs: values.nodeLease ?? DEFAULT_NODE_LEASE_MS,
    packing: values.packing ?? 'pack',
    keepJobsMs: values.keepJobs ?? DEFAULT_KEEP_JOBS_MS,
    limits: limitsOf(values),
    maxStreamBytes: values.logLimit ?? DEFAULT_MAX_STREAM_BYTES,
    secretsKey: secretsKeyOf(env, values.secretsKeyFile ?? join(stateDir, 'secrets.key')),
    pools: values.pools === undefined ? [] : await readPools(values.pools),
    targets: values.targets === undefined ? { targets: [], gone: [] } : await readTargets(values.targets),
    publicUrl: values.publicUrl ?? null,
    publicCa: publicCaOf(values),
    environment: env,
    logLevel: values.logLevel ?? 'info',
    service: readServiceEnvironment(env, process.pid),
  };
}

async function readPools(path: string): Promise<readonly PoolSpec[]> {
  return orThrow(parsePoolsText(await readConfigured('--pools', path)), path);
}

async function readTargets(path: string): Promise<TargetsFile> {
  return orThrow(parseTargetsText(await readConfigured('--targets', path)), path);
}

function orThrow<Value>(value: Value | Refusal, path: string): Value {
  if (isRefusal(value)) throw AppError.fromRefusal({ ...value, detail: `${path}: ${value.detail}` });
  return value;
}

async function readConfigured(flag: string, path: string): Promise<string> {
  try {
    return await readFile(path, 'utf8');
  } catch (cause) {
    throw new AppError('invalid-request', `${flag}: ${path} cannot be read: ${(cause as Error).message}`, { cause });
  }
}

function parseUrl(value: string): string | Unfit {
  const url = URL.canParse(value) ? new URL(value) : undefined;
  if (url?.protocol === 'http:' || url?.protocol === 'https:') return value.replace(/\/+$/, '');
  return new Unfit(`"${value}" is no address; write https://HOST:PORT`);
}

function tlsOf({ tlsCert, tlsKey }: GivenValues<typeof SETTINGS>): TlsFiles | null {
  if (tlsCert === undefined && tlsKey === undefined) return null;
  if (tlsCert !== undefined && tlsKey !== undefined) return { certFile: tlsCert, keyFile: tlsKey };
  throw new AppError('invalid-request', `${tlsCert === undefined ? '--tls-cert' : '--tls-key'} is missing`, {
    hint: 'HTTPS needs both --tls-cert and --tls-key',
  });
}

function publicCaOf({ publicCa, publicUrl, tlsCert }: GivenValues<typeof SETTINGS>): string | null {
  if (publicCa === undefined) return null;
  if (publicUrl === undefined ? tlsCert !== undefined : publicUrl.startsWith('https:')) return publicCa;
  throw new AppError('invalid-request', `--public-ca: ${publicCa} is of no use without HTTPS`, {
    hint: 'give --public-url https://HOST:PORT, or --tls-cert and --tls-key, or leave --public-ca out',
  });
}

/** A key is no flag: every user of the machine sees a program's arguments. */
function secretsKeyOf(env: Readonly<Record<string, string | undefined>>, path: string): SecretsKey {
  const text = env.BERTH_COORDINATOR_SECRETS_KEY;
  return text === undefined || text === '' ? { kind: 'file', path } : { kind: 'given', text };
}

/** Who is not named has no quota, a weight of 1, and no licences. */
function limitsOf(values: GivenValues<typeof SETTINGS>): Limits {
  const { quotas, weights, licences, preemption } = values;
  return {
    namespaces: quotas?.namespaces ?? NO_LIMITS.namespaces,
    users: quotas?.users ?? NO_LIMITS.users,
    jobs: quotas?.jobs ?? NO_LIMITS.jobs,
    namespaceWeights: weights?.namespaces ?? NO_LIMITS.namespaceWeights,
    userWeights: weights?.users ?? NO_LIMITS.userWeights,
    licences: licences ?? NO_LIMITS.licences,
    preemption: preemption ?? NO_LIMITS.preemption,
    secretKeys: NO_LIMITS.secretKeys,
  };
}

function parseListen(value: string): { host: string; port: number } | Unfit {
  const match = /^(?:\[([0-9a-fA-F:]+)\]|([^:\s]+)):(\d{1,5})$/.exec(value);
  const port = Number(match?.[3]);
  if (!match || port > 65_535) return new Unfit(`"${value}" is not HOST:PORT; write 127.0.0.1:7878 or [::1]:7878`);
  return { host: match[1] ?? match[2] ?? '', port };
}

function parseLogLimit(value: string): number | Unfit {
  const mebibytes = parseMiB(value);
  return typeof mebibytes === 'string' ? new Unfit(mebibytes) : mebibytes * MIB;
}

function parsePacking(value: string): Packing | Unfit {
  if (value === 'pack' || value === 'spread') return value;
  return new Unfit(`"${value}" is no policy; write pack or spread${didYouMean(value, ['pack', 'spread'])}`);
}

function parseLease(value: string): number | Unfit {
  const duration = parseDuration(value);
  if (typeof duration === 'string') return new Unfit(duration);
  return duration > 0 ? duration : new Unfit('it must be longer than 0s');
}

function parseKeep(value: string): number | Unfit {
  const duration = parseDuration(value);
  if (typeof duration === 'string') return new Unfit(duration);
  return duration >= DAY_MS
    ? duration
    : new Unfit('it must be 1d or longer: for a day a submission key stands for its job');
}
