import { homedir, hostname, tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { describeSettings, type GivenValues, type Settings } from '../../shared/config.js';
import { DAEMON_SETTINGS, parseText, readDaemonSettings } from '../../shared/daemon-config.js';
import type { NodeId } from '../../shared/ids.js';
import type { Resources } from '../../shared/resources.js';
import type { Isolation } from '../model/isolation.js';
import type { NodeVolume } from '../staging/node-volume.js';
import {
  DEFAULT_DOCKER_HOST,
  DOCKER_PERMISSIONS,
  type DockerPermission,
  parseDockerAllow,
  parseDockerHost,
  parseDockerNetwork,
  socketOf,
} from './docker.js';
import {
  GPU_PERIOD,
  GPU_TIME_LIMIT,
  parseAddress,
  parseCpuMillis,
  parseEndpoint,
  parseGpuCount,
  parseIsolation,
  parseLabels,
  parseLines,
  parseName,
  parsePercent,
  parsePeriod,
  parseProcesses,
  parseRoots,
  parseSize,
  parseTimeLimit,
} from './values.js';
import { parseVolumes } from './volumes.js';

/** How `berth agent` is set up, parsed once. */
export interface AgentConfig {
  readonly url: string;
  /** Null only for `berth agent discover`, which talks to nobody. */
  readonly tokenFile: string | null;
  /** Whose certificates to trust beside the system's own; PEM. */
  readonly caFile: string | null;
  readonly stateDir: string;
  readonly nodeId: NodeId;
  /** What the operator says instead of what is found on the machine. */
  readonly capacity: Partial<Resources>;
  readonly gpuCount: number;
  /** How GPUs are looked for; null when they are not. */
  readonly gpuWatch: GpuWatchConfig | null;
  /** Where other nodes reach this one; null to find it out. */
  readonly address: string | null;
  readonly labels: Readonly<Record<string, string>>;
  /** A folder in memory for tasks' secrets; one is looked for when null. */
  readonly secretsDir: string | null;
  /** How tasks are kept apart; null: as far as this node can. */
  readonly isolation: Isolation | null;
  /** Whom isolated tasks run as. */
  readonly userName: string;
  /** Whom jobs may ask to run as. */
  readonly allowedUsers: readonly string[];
  /** Processes and threads that a task may have at once, where tasks have control groups. */
  readonly maxProcesses: number;
  readonly logLevel: string;
  /** Where Docker is asked for containers; null: nowhere. */
  readonly dockerSocket: string | null;
  readonly dockerNetwork: 'none' | 'bridge';
  readonly dockerAllow: readonly DockerPermission[];
  readonly imageHighWater: number;
  readonly registryCredentials: string | null;
  /** What the output of all tasks may take on this node before some of it goes. */
  readonly spoolLimitMiB: number;
  readonly spoolHighWater: number;
  /** What every task's environment starts from. */
  readonly taskEnv: Readonly<Record<string, string>>;
  /** Folders from which tasks may take `file://` inputs. */
  readonly inputRoots: readonly string[];
  readonly volumes: readonly NodeVolume[];
  readonly s3: { readonly endpoint: string | null; readonly region: string; readonly credentialsFile: string } | null;
}

export interface GpuWatchConfig {
  /** NVIDIA's tool: a name in PATH, or a path. */
  readonly program: string;
  readonly everyMs: number;
  readonly timeLimitMs: number;
}

const DEFAULT_URL = 'http://127.0.0.1:7878';
const DEFAULT_PATH = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';
const DEFAULT_USER = 'nobody';
const DEFAULT_PROCESSES = 4_096;
const DEFAULT_S3_REGION = 'us-east-1';

const DEFAULT_HIGH_WATER = 85;
const DEFAULT_SPOOL_MIB = 16 * 1_024;
const DEFAULT_SPOOL_HIGH_WATER = 95;

const SETTINGS = {
  url: { parse: parseText, placeholder: 'URL', help: `the coordinator (${DEFAULT_URL})` },
  tokenFile: { parse: parseText, placeholder: 'FILE', help: 'the join token: agent.token of the coordinator' },
  caFile: {
    parse: parseText,
    placeholder: 'FILE',
    help: "certificates to trust for an https URL (PEM; the system's own)",
  },
  stateDir: { parse: parseText, placeholder: 'DIR', help: 'where attempts, their output and the identity live' },
  name: { parse: parseName, placeholder: 'NAME', help: "the node's unique name (its host name)" },
  cpus: { parse: parseCpuMillis, placeholder: 'N', help: 'processors to offer (all that this process may use)' },
  memory: { parse: parseSize, placeholder: 'SIZE', help: 'memory to offer, e.g. 15GiB (all)' },
  disk: { parse: parseSize, placeholder: 'SIZE', help: 'disk to offer (what is free at the state directory)' },
  gpus: { parse: parseGpuCount, placeholder: 'N', help: 'GPUs to offer without looking for any (those found)' },
  nvidiaSmi: { parse: parseText, placeholder: 'FILE', help: 'the program that tells of GPUs (nvidia-smi in PATH)' },
  gpuPeriod: { parse: parsePeriod, placeholder: 'TIME', help: 'between two looks at the GPUs (30s)' },
  gpuTimeLimit: { parse: parseTimeLimit, placeholder: 'TIME', help: 'how long such a look may take (20s)' },
  address: {
    parse: parseAddress,
    placeholder: 'HOST',
    help: 'where other nodes reach this one (its address on the way to the coordinator)',
  },
  isolation: {
    parse: parseIsolation,
    placeholder: 'MODE',
    help: 'full, cgroup or none: how tasks are kept apart (as far as this node can)',
  },
  taskUser: { parse: parseText, placeholder: 'NAME', help: 'whom fully isolated tasks run as (nobody)' },
  allowUser: {
    parse: parseLines,
    placeholder: 'NAME',
    help: 'whom jobs may name as "user"; may be repeated',
    isRepeatable: true,
  },
  taskProcesses: { parse: parseProcesses, placeholder: 'N', help: 'processes that an isolated task may have (4096)' },
  label: {
    parse: parseLabels,
    placeholder: 'KEY=VALUE',
    help: 'a label of the node; may be repeated',
    isRepeatable: true,
  },
  secretsDir: {
    parse: parseText,
    placeholder: 'DIR',
    help: "a tmpfs folder for tasks' secrets (one of its own in /run or /dev/shm)",
  },
  dockerHost: {
    parse: parseDockerHost,
    placeholder: 'URL',
    help: `socket of Docker or Podman, or "none" (DOCKER_HOST, else ${DEFAULT_DOCKER_HOST})`,
  },
  dockerNetwork: {
    parse: parseDockerNetwork,
    placeholder: 'MODE',
    help: 'network of a container that asks for none in particular: none or bridge (none)',
  },
  dockerAllow: {
    parse: parseDockerAllow,
    placeholder: 'WHAT',
    help: `what containers may ask for: ${DOCKER_PERMISSIONS.join(', ')}; may be repeated`,
    isRepeatable: true,
  },
  imageHighWater: {
    parse: parsePercent,
    placeholder: 'PERCENT',
    help: `how full Docker's disk may be before images that tasks brought go; 100 keeps them (${DEFAULT_HIGH_WATER})`,
  },
  spoolLimit: {
    parse: parseSize,
    placeholder: 'SIZE',
    help: "what tasks' output may take here while the coordinator does not have it (16GiB)",
  },
  spoolHighWater: {
    parse: parsePercent,
    placeholder: 'PERCENT',
    help: `how full the disk may be before output goes although it is less (${DEFAULT_SPOOL_HIGH_WATER})`,
  },
  registryCredentials: {
    parse: parseText,
    placeholder: 'FILE',
    help: 'JSON of {"REGISTRY": {"username", "password"}}, readable by its owner alone',
  },
  inputRoot: {
    parse: parseRoots,
    placeholder: 'DIR',
    help: 'a folder from which file:// inputs may come; may be repeated',
    isRepeatable: true,
  },
  volumes: {
    parse: parseVolumes,
    placeholder: 'NAME=path=DIR',
    help: 'what tasks may mount; ,writable=true permits writing, ,mounted=true wants a mount point; also NAME=tmpfs=1GiB, NAME=type=nfs,source=HOST:/PATH and NAME=type=smb,source=//HOST/SHARE,credentials=FILE (,options=A;B)',
    isRepeatable: true,
  },
  s3Credentials: { parse: parseText, placeholder: 'FILE', help: 'aws_access_key_id = … and so on, for s3:// inputs' },
  s3Endpoint: { parse: parseEndpoint, placeholder: 'URL', help: "of the S3 service (Amazon's own)" },
  s3Region: { parse: parseText, placeholder: 'NAME', help: 'its region (us-east-1)' },
  ...DAEMON_SETTINGS,
} as const satisfies Settings;

export const AGENT_HELP = `Usage: berth agent [flags]
       berth agent discover [-o json|table] [flags]   prints what this machine would report
       berth agent gpu [list | out DEVICE REASON | in DEVICE] [--state-dir DIR]
                                                      takes a GPU out of use, or lets it take tasks again

Runs the agent daemon, which makes this machine a node. Every flag is also a variable (--state-dir:
BERTH_AGENT_STATE_DIR) and a key of the configuration file (stateDir). A flag wins over a variable, a variable over
the file. Tasks go on when the agent is stopped or killed, and it takes them up again when it is back.

${describeSettings(SETTINGS)}`;

/** Throws `invalid-request` with every problem found. */
export async function readAgentConfig(
  argv: readonly string[],
  env: Readonly<Record<string, string | undefined>>,
): Promise<AgentConfig> {
  const values = await readDaemonSettings(SETTINGS, { argv, env, envPrefix: 'BERTH_AGENT' });
  return {
    url: values.url ?? DEFAULT_URL,
    tokenFile: values.tokenFile ?? null,
    caFile: values.caFile ?? null,
    stateDir: resolve(values.stateDir ?? join(homedir(), '.berth', 'agent')),
    nodeId: values.name ?? (hostname() as NodeId),
    capacity: {
      ...(values.cpus === undefined ? {} : { cpuMillis: values.cpus }),
      ...(values.memory === undefined ? {} : { memoryMiB: values.memory }),
      ...(values.disk === undefined ? {} : { diskMiB: values.disk }),
    },
    gpuCount: values.gpus ?? 0,
    gpuWatch:
      values.gpus === undefined
        ? {
            program: values.nvidiaSmi ?? 'nvidia-smi',
            everyMs: values.gpuPeriod ?? GPU_PERIOD.defaultMs,
            timeLimitMs: values.gpuTimeLimit ?? GPU_TIME_LIMIT.defaultMs,
          }
        : null,
    address: values.address ?? null,
    labels: values.label ?? {},
    secretsDir: values.secretsDir ?? null,
    isolation: values.isolation ?? null,
    userName: values.taskUser ?? DEFAULT_USER,
    allowedUsers: values.allowUser ?? [],
    maxProcesses: values.taskProcesses ?? DEFAULT_PROCESSES,
    inputRoots: values.inputRoot ?? [],
    volumes: values.volumes ?? [],
    s3: s3Of(values),
    logLevel: values.logLevel ?? 'info',
    dockerSocket: socketOf(values.dockerHost ?? env.DOCKER_HOST ?? DEFAULT_DOCKER_HOST),
    dockerNetwork: values.dockerNetwork ?? 'none',
    dockerAllow: values.dockerAllow ?? [],
    imageHighWater: values.imageHighWater ?? DEFAULT_HIGH_WATER,
    registryCredentials: values.registryCredentials ?? null,
    spoolLimitMiB: values.spoolLimit ?? DEFAULT_SPOOL_MIB,
    spoolHighWater: values.spoolHighWater ?? DEFAULT_SPOOL_HIGH_WATER,
    taskEnv: {
      PATH: env.PATH ?? DEFAULT_PATH,
      HOME: homedir(),
      LANG: env.LANG ?? 'C.UTF-8',
      TMPDIR: tmpdir(),
    },
  };
}

function s3Of(values: GivenValues<typeof SETTINGS>): AgentConfig['s3'] {
  const { s3Credentials, s3Endpoint, s3Region } = values;
  if (s3Credentials === undefined) return null;
  return { endpoint: s3Endpoint ?? null, region: s3Region ?? DEFAULT_S3_REGION, credentialsFile: s3Credentials };
}
