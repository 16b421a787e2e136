import { join } from 'node:path';
import { systemClock } from '../shared/clock.js';
import { AppError, CODES, isAppError } from '../shared/errors.js';
import type { Log } from '../shared/log.js';
import { openPinoLog } from '../shared/pino-log.js';
import { systemRandom } from '../shared/random.js';
import { readServiceEnvironment, SystemdService } from '../shared/systemd.js';
import { isReadableByOthers } from '../shared/transport.js';
import { VERSION } from '../shared/version.js';
import type { Inventory } from '../shared/wire/messages.js';
import { Agent } from './agent.js';
import { AGENT_HELP, type AgentConfig, readAgentConfig } from './config/config.js';
import { readCa, readS3Credentials, readToken } from './config/credential-files.js';
import { carryOut, type GpuOrder } from './discovery/gpu/decide.js';
import { GpuFiles } from './discovery/gpu/gpu-files.js';
import { GpuUse } from './discovery/gpu/gpu-use.js';
import { GpuWatch, type GpuWatchOptions } from './discovery/gpu/gpu-watch.js';
import { KernelLog } from './discovery/gpu/kernel-log.js';
import { nvidiaSmi } from './discovery/gpu/nvidia-smi.js';
import { readBootId, takeInventory } from './discovery/inventory.js';
import { readIsolation } from './discovery/limits.js';
import { reportOf, reportText } from './discovery/report.js';
import { Sampler } from './discovery/sampler.js';
import type { DockerOffer } from './driver/docker/known-engine.js';
import { type NodeDocker, nodeDocker } from './driver/docker/node-docker.js';
import { workdirInCell } from './driver/process/cell.js';
import { type IsolationPlan, isolationAttributes, planIsolation } from './driver/process/isolation.js';
import { processDriver } from './driver/process/process-driver.js';
import { findSecretsRoot, SecretFolder } from './driver/secret-folder.js';
import type { Dialer } from './link/dialer.js';
import { websocketDialer } from './link/websocket-dialer.js';
import { ArtifactClient } from './staging/artifact-client.js';
import { FileStaging, type FileStagingOptions } from './staging/file-staging.js';
import { S3Access } from './staging/s3.js';
import type { TaskView } from './staging/volumes.js';
import { FileAgentStore } from './store/file-store.js';
import { spoolFiles } from './store/spool-files.js';

/** Timers of ours do not keep the process alive, since in a test they must not; this one does. */
const KEEP_ALIVE_MS = 2 ** 30;

/** `berth agent`. Resolves to the process's exit code. */
export async function main(argv: readonly string[]): Promise<number> {
  const [word, ...rest] = argv;
  if (argv.includes('--help') || argv.includes('-h')) {
    console.log(AGENT_HELP);
    return 0;
  }
  try {
    if (word === 'discover') await discover(rest);
    else if (word === 'gpu') await decideOnGpu(rest);
    else await serve(await readAgentConfig(argv, process.env));
    return 0;
  } catch (error) {
    return complain(error);
  }
}

async function serve(config: AgentConfig): Promise<void> {
  const log = openPinoLog(config.logLevel);
  const { agent, stop } = compose(config, log);
  const keepAlive = setInterval(() => {}, KEEP_ALIVE_MS);
  let stopped: Promise<void> | undefined;
  for (const signal of ['SIGINT', 'SIGTERM'] as const) {
    process.once(signal, () => {
      // A second signal ends the process at once.
      process.once(signal, () => process.exit(1));
      log.info('agent stops; tasks go on', { signal });
      stopped = agent.stop();
    });
  }
  const service = serviceOf(log);
  try {
    await agent.run(() => service.ready());
    await stopped;
  } finally {
    service.stopping();
    clearInterval(keepAlive);
    stop();
  }
}

interface DockerParts {
  readonly secretsRoot: string | undefined;
  readonly hasGpus: () => boolean;
}

function dockerOf(config: AgentConfig, log: Log, { secretsRoot, hasGpus }: DockerParts): NodeDocker | undefined {
  const { stateDir, nodeId, dockerSocket, dockerNetwork, dockerAllow, registryCredentials } = config;
  const imageHighWaterPercent = config.imageHighWater;
  return nodeDocker({
    ...{
      stateDir,
      nodeId,
      log,
      hasGpus,
      imageHighWaterPercent,
      clock: systemClock,
      random: systemRandom,
      bootId: readBootId(),
    },
    secrets: secretsRoot === undefined ? undefined : new SecretFolder(join(secretsRoot, 'docker'), 'mount'),
    socketPath: dockerSocket,
    policy: { network: dockerNetwork, allow: dockerAllow },
    credentialsFile: registryCredentials,
  });
}

function compose(config: AgentConfig, log: Log): { readonly agent: Agent; readonly stop: () => void } {
  const { nodeId, stateDir, taskEnv, gpuCount } = config;
  const bootId = readBootId();
  const base = { clock: systemClock, random: systemRandom, log, bootId };
  const gpuMeter = new GpuUse();
  const gpus = watchGpus(config, log, { use: gpuMeter, changed: () => void agent.inventoryChanged() });
  const hasGpus = (): boolean => gpuCount > 0 || gpus?.hasDevices === true;
  const task = { nodeName: nodeId, env: taskEnv, hasGpus };
  const secretsRoot = secretsRootOf(config, log);
  const secrets = secretsRoot === undefined ? undefined : new SecretFolder(join(secretsRoot, 'process'));
  let plan: Promise<IsolationPlan> | undefined;
  const isolation = (): Promise<IsolationPlan> => {
    plan ??= planIsolation(config);
    return plan;
  };
  const docker = dockerOf(config, log, { secretsRoot, hasGpus });
  const unwatch = docker?.watch(() => void agent.inventoryChanged());
  let inventory: Promise<Inventory> | undefined;
  let sampler: Sampler | undefined;
  const agent: Agent = new Agent({
    ...base,
    nodeId,
    version: VERSION,
    store: new FileAgentStore(stateDir, base),
    drivers: new Map([
      ['process', processDriver({ ...base, task, secrets, isolation, directory: join(stateDir, 'process') })],
      ...(docker ? [['docker', docker.factory] as const] : []),
    ]),
    ...(gpus ? { gpuMeter } : {}),
    spool: spoolOf(config, log),
    staging: stagingOf(config, isolation, base),
    dial: dialerOf(config, log),
    // Taken once, when the state directory exists: a node does not change while its agent runs but for GPUs and Docker.
    inventory: async () => {
      inventory ??= inventoryOf(config, { log, keepsSecrets: secretsRoot !== undefined, isolation });
      const [taken, found] = await Promise.all([inventory, docker?.offer(), gpus?.start()]);
      return withDocker(gpus?.addTo(taken) ?? taken, found);
    },
    heartbeat: async () => {
      sampler ??= new Sampler(systemClock, stateDir);
      const sample = sampler.sample();
      return gpus?.samples.length ? { ...sample, gpus: gpus.samples } : sample;
    },
  });
  const stop = (): void => {
    gpus?.stop();
    unwatch?.();
  };
  return { agent, stop };
}

function spoolOf({ stateDir, spoolLimitMiB, spoolHighWater: highWaterPercent }: AgentConfig, log: Log) {
  const disk = spoolFiles({ stateDir, highWaterPercent, clock: systemClock, log });
  return { disk, limitBytes: spoolLimitMiB * 1024 ** 2 };
}

function dialerOf({ url, tokenFile, caFile }: AgentConfig, log: Log): Dialer {
  const dial = websocketDialer({ url, token: readToken(tokenFile), ca: readCa(caFile) });
  if (isReadableByOthers(url)) {
    log.warn('NOT ENCRYPTED: the token, secrets and output can be read on the network; use an https URL', { url });
  }
  return dial;
}

function watchGpus(
  { gpuWatch, stateDir }: AgentConfig,
  log: Log,
  parts: Pick<GpuWatchOptions, 'use' | 'changed'>,
): GpuWatch | undefined {
  if (gpuWatch === null) return undefined;
  const files = new GpuFiles(stateDir, log);
  const base = { clock: systemClock, log, bootId: readBootId(), everyMs: gpuWatch.everyMs };
  const source = nvidiaSmi({ ...gpuWatch, clock: systemClock });
  return new GpuWatch({ ...base, ...parts, source, files, kernelLog: new KernelLog('/dev/kmsg') });
}

type StagingBase = Pick<FileStagingOptions, 'clock' | 'random' | 'log'>;

function stagingOf(config: AgentConfig, isolation: () => Promise<IsolationPlan>, base: StagingBase): FileStaging {
  const { stateDir, url, tokenFile, caFile, inputRoots, volumes, s3 } = config;
  const ofProcess = async (): Promise<TaskView> =>
    (await isolation()).kind === 'full' ? { kind: 'cell', workspace: workdirInCell } : { kind: 'node' };
  const ofContainer = async (): Promise<TaskView> => ({ kind: 'container', workspace: () => '/workspace' });
  // What a container leaves belongs to whomever its image says: only root can take it away again.
  const isRoot = process.getuid?.() === 0;
  return new FileStaging({
    ...base,
    directory: join(stateDir, 'staging'),
    inputRoots,
    volumes,
    views: new Map([['process', ofProcess], ...(isRoot ? [['docker', ofContainer] as const] : [])]),
    artifacts: new ArtifactClient({ url, token: readToken(tokenFile), ca: readCa(caFile) }),
    s3: s3 && new S3Access({ ...s3, credentials: readS3Credentials(s3.credentialsFile) }),
  });
}

interface InventoryParts {
  readonly log: Log;
  readonly keepsSecrets: boolean;
  readonly isolation: () => Promise<IsolationPlan>;
}

async function inventoryOf(config: AgentConfig, { isolation, ...more }: InventoryParts): Promise<Inventory> {
  const drivers = ['process'] as const;
  const inventory = await takeInventory({ ...config, ...more, diskAt: config.stateDir, bootId: readBootId(), drivers });
  return { ...inventory, attributes: { ...inventory.attributes, ...isolationAttributes(await isolation()) } };
}

/** Without one, tasks that have secrets go to other nodes. */
function secretsRootOf({ secretsDir, stateDir }: AgentConfig, log: Log): string | undefined {
  const root = findSecretsRoot(secretsDir, stateDir);
  if (root === undefined) log.warn('no tmpfs for secrets: no task that has any is placed here', { stateDir });
  return root;
}

function withDocker(inventory: Inventory, found: DockerOffer | undefined): Inventory {
  if (found === undefined) return inventory;
  return {
    ...inventory,
    attributes: { ...inventory.attributes, ...found.attributes },
    drivers: found.isUp ? [...inventory.drivers, 'docker'] : inventory.drivers,
  };
}

async function discover(argv: readonly string[]): Promise<void> {
  const { output, rest } = takeOutputFlag(argv);
  const config = await readAgentConfig(rest, process.env);
  const options = { ...config, stateDir: null, diskAt: '/', bootId: readBootId(), drivers: ['process'] as const };
  const log = openPinoLog(config.logLevel);
  const { gpuWatch } = config;
  const secretsRoot = secretsRootOf(config, log);
  const signal = new AbortController().signal;
  const [inventory, found, gpus] = await Promise.all([
    takeInventory({ ...options, keepsSecrets: secretsRoot !== undefined, log }),
    dockerOf(config, log, { secretsRoot, hasGpus: () => false })?.offer(),
    gpuWatch ? nvidiaSmi({ ...gpuWatch, clock: systemClock }).read(signal) : { kind: 'absent' as const },
  ]);
  const versions = { berth: VERSION, node: process.versions.node };
  const report = reportOf({ inventory: withDocker(inventory, found), gpus, isolation: readIsolation(), versions });
  console.log(output === 'table' ? reportText(report) : JSON.stringify(report, null, 2));
}

const OUTPUTS = ['json', 'table'];

function takeOutputFlag(argv: readonly string[]): { readonly output: string; readonly rest: readonly string[] } {
  const at = argv.findIndex((flag) => /^(-o|--output)(=|$)/.test(flag));
  if (at < 0) return { output: 'json', rest: argv };
  const [, inline] = (argv[at] ?? '').split('=');
  const output = inline ?? argv[at + 1] ?? '';
  if (!OUTPUTS.includes(output)) throw new AppError('invalid-request', `-o takes ${OUTPUTS.join(' or ')}`);
  return { output, rest: argv.toSpliced(at, inline === undefined ? 2 : 1) };
}

/** `berth agent gpu [list]`, `gpu out DEVICE REASON`, `gpu in DEVICE`; flags as the agent has them. */
async function decideOnGpu(argv: readonly string[]): Promise<void> {
  const flagsAt = argv.findIndex((word) => word.startsWith('-'));
  const [verb = 'list', device, ...reason] = flagsAt < 0 ? argv : argv.slice(0, flagsAt);
  const { stateDir } = await readAgentConfig(flagsAt < 0 ? [] : argv.slice(flagsAt), process.env);
  console.log(carryOut(gpuOrderOf(verb, device, reason.join(' ')), stateDir));
}

function gpuOrderOf(verb: string, device: string | undefined, reason: string): GpuOrder {
  if (verb === 'list' && device === undefined) return { verb };
  if (verb === 'in' && device !== undefined && reason === '') return { verb, device };
  if (verb === 'out' && device !== undefined && reason !== '') return { verb, device, reason };
  throw new AppError('invalid-request', `"gpu ${[verb, device, reason].filter(Boolean).join(' ')}" is no order`, {
    hint: 'write: gpu list, gpu out 2 "fan is loud", or gpu in 2',
  });
}

function serviceOf(log: Log): SystemdService {
  const environment = readServiceEnvironment(process.env, process.pid);
  return new SystemdService(environment, { clock: systemClock, log, pid: process.pid });
}

function complain(error: unknown): number {
  const fault = isAppError(error) ? error : new AppError('internal', 'the agent stopped on a bug', { cause: error });
  console.error(`berth agent: ${fault.message}`);
  if (fault.hint) console.error(`  ${fault.hint}`);
  if (fault.code === 'internal') console.error(fault.cause);
  return CODES[fault.code].exitCode;
}
