import { join } from 'node:path';
import { systemClock } from '../shared/clock.js';
import type { Log } from '../shared/log.js';
import { systemRandom } from '../shared/random.js';
import { isReadableByOthers } from '../shared/transport.js';
import { VERSION } from '../shared/version.js';
import type { Inventory } from '../shared/wire/messages.js';
import { Agent } from './agent.js';
import type { AgentConfig } from './config/config.js';
import { readCa, readS3Credentials, readToken } from './config/credential-files.js';
import { GpuFiles } from './discovery/gpu/gpu-files.js';
import { GpuUse } from './discovery/gpu/gpu-use.js';
import { GpuWatch, type GpuWatchOptions } from './discovery/gpu/gpu-watch.js';
import { KernelLog } from './discovery/gpu/kernel-log.js';
import { nvidiaSmi } from './discovery/gpu/nvidia-smi.js';
import { readBootId, takeInventory } from './discovery/inventory.js';
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

/** Everything of an agent, put together; nothing of it runs yet. */
export function compose(config: AgentConfig, log: Log): { readonly agent: Agent; readonly stop: () => void } {
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

interface DockerParts {
  readonly secretsRoot: string | undefined;
  readonly hasGpus: () => boolean;
}

export function dockerOf(config: AgentConfig, log: Log, { secretsRoot, hasGpus }: DockerParts): NodeDocker | undefined {
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
export function secretsRootOf({ secretsDir, stateDir }: AgentConfig, log: Log): string | undefined {
  const root = findSecretsRoot(secretsDir, stateDir);
  if (root === undefined) log.warn('no tmpfs for secrets: no task that has any is placed here', { stateDir });
  return root;
}

export function withDocker(inventory: Inventory, found: DockerOffer | undefined): Inventory {
  if (found === undefined) return inventory;
  return {
    ...inventory,
    attributes: { ...inventory.attributes, ...found.attributes },
    drivers: found.isUp ? [...inventory.drivers, 'docker'] : inventory.drivers,
  };
}
