import type { ContainerCreateOptions, HostConfig, MountSettings } from 'dockerode';
import type { AllocationId } from '../../../shared/ids.js';
import type { ContainerSpec } from '../../../shared/job-spec/spec.js';
import type { StartOrder } from '../../../shared/wire/messages.js';
import type { PreparedOrder } from '../driver.js';
import type { SecretPlaces } from '../secret-folder.js';
import { type TaskBase, taskEnvironment } from '../task-environment.js';
import type { DockerPolicy } from './docker-policy.js';
import type { EngineKind } from './engine.js';
import type { ReadyImage } from './images.js';

/** Whose container it is, and which attempt's. */
export const OWNER_LABEL = 'berth.owner';
export const ALLOCATION_LABEL = 'berth.allocation';
/** Digest of the image, which a later agent reports. */
export const IMAGE_LABEL = 'berth.image';

export interface ContainerPlace {
  /** Names this agent's state directory among all that use the same Docker. */
  readonly owner: string;
  readonly engine: EngineKind;
  readonly image: ReadyImage;
  /** Where the order's script lies on the node; unused for a command. */
  readonly script: string;
  /** Where the order's secrets lie on the node. */
  readonly secrets: SecretPlaces;
  readonly base: TaskBase;
  readonly policy: DockerPolicy;
}

const SCRIPT_TARGET = '/.berth/script';
const SECRETS_TARGET = '/.berth/secrets';
const SECRET_VARIABLES_TARGET = '/.berth/variables';
/** Sets variables that Docker must not know, since it writes all it knows on its disk. */
export const SHELL = '/bin/sh';
const NANO_PER_MILLI = 1_000_000;
const MIB = 1024 ** 2;
const DEFAULT_PIDS = 4_096;
/** Docker takes no less memory. */
const MIN_MEMORY_MIB = 6;
/**
 * The daemon's own copy of the output fills the gap of an agent's absence: Docker's `local` and Podman's `k8s-file` are the
 * forms that keep every byte as it was. Never rotated: the attempt's removal deletes it.
 */
const LOG_CONFIGS: Readonly<Record<EngineKind, HostConfig['LogConfig']>> = {
  docker: { Type: 'local', Config: { 'max-size': '1000000g', 'max-file': '1', compress: 'false' } },
  podman: { Type: 'k8s-file', Config: {} },
};

/** The same for every attempt of an allocation: Docker itself then refuses a second container. */
export function containerName(owner: string, id: AllocationId): string {
  return `berth-${owner}-${id.replace('#', '-')}`;
}

/** The container of an order: no capability, no swap, no new privileges, no network but the node's. */
export function containerOptions(order: PreparedOrder, place: ContainerPlace): ContainerCreateOptions {
  const { run, workdir, gpus, container = {} } = order;
  const { base } = place;
  const argv = run.kind === 'command' ? run.argv : [SCRIPT_TARGET, ...run.args];
  const hasFiles = place.secrets.directory !== null;
  return {
    name: containerName(place.owner, order.allocationId),
    Image: place.image.id,
    ...programOf(argv, container, place),
    // Without a GPU of its own a container sees none, even where the runtime would show them all.
    Env: Object.entries({
      ...(gpus.length === 0 ? { NVIDIA_VISIBLE_DEVICES: 'void' } : {}),
      ...taskEnvironment(order, base),
      ...(hasFiles ? { BERTH_SECRETS_DIR: SECRETS_TARGET } : {}),
    }).map(([name, value]) => `${name}=${value}`),
    ...(workdir === null ? {} : { WorkingDir: workdir }),
    ...(container.user === undefined ? {} : { User: container.user }),
    Labels: { [OWNER_LABEL]: place.owner, [ALLOCATION_LABEL]: order.allocationId, [IMAGE_LABEL]: place.image.digest },
    AttachStdin: false,
    AttachStdout: true,
    AttachStderr: true,
    OpenStdin: false,
    Tty: false,
    Healthcheck: { Test: ['NONE'] },
    HostConfig: { ...limitsOf(order), ...wallOf(order, place), Mounts: bindsOf(order, place) },
  };
}

/** An image's entry point is kept only where the order says so: its command is the whole command. */
function programOf(argv: readonly string[], { entrypoint }: ContainerSpec, { secrets, image }: ContainerPlace) {
  if (secrets.envFile !== null) {
    const all = entrypoint === 'image' ? [...image.entrypoint, ...argv] : argv;
    return { Entrypoint: [SHELL, '-c', '. "$0"; exec "$@"', SECRET_VARIABLES_TARGET, ...all], Cmd: [] };
  }
  return entrypoint === 'image' ? { Cmd: [...argv] } : { Entrypoint: [...argv], Cmd: [] };
}

function limitsOf({ resources, gpus, container = {} }: StartOrder): HostConfig {
  const memory = Math.max(resources.memoryMiB, MIN_MEMORY_MIB) * MIB;
  return {
    NanoCpus: resources.cpuMillis * NANO_PER_MILLI,
    Memory: memory,
    // Memory and swap together: as much as memory alone is no swap.
    MemorySwap: memory,
    PidsLimit: container.pidsLimit ?? DEFAULT_PIDS,
    ...(container.shmMiB === undefined ? {} : { ShmSize: container.shmMiB * MIB }),
    ...(gpus.length === 0
      ? {}
      : { DeviceRequests: [{ Driver: '', DeviceIDs: gpus.map(({ uuid }) => uuid), Capabilities: [['gpu']] }] }),
  };
}

function wallOf({ container = {}, mounts = [] }: PreparedOrder, { policy, engine }: ContainerPlace): HostConfig {
  return {
    NetworkMode: container.network ?? policy.network,
    ReadonlyRootfs: container.readOnly ?? false,
    Tmpfs: Object.fromEntries([
      ...(container.tmpfs ?? []).map((path) => [path, 'rw,nosuid,nodev']),
      ...mounts.flatMap((mount) => (mount.kind === 'memory' ? [[mount.target, memoryOptions(mount.sizeMiB)]] : [])),
    ]),
    CapDrop: ['ALL'],
    CapAdd: [...(container.capAdd ?? [])],
    SecurityOpt: ['no-new-privileges'],
    // Passes signals on and reaps: a program that is process 1 itself ignores SIGTERM unless it handles it.
    Init: true,
    RestartPolicy: { Name: 'no' },
    LogConfig: LOG_CONFIGS[engine],
  };
}

/** A container's user may be anybody. */
function memoryOptions(sizeMiB: number): string {
  return `rw,exec,nosuid,nodev,mode=1777,size=${sizeMiB}m`;
}

function bindsOf({ run, mounts = [] }: PreparedOrder, { script, secrets }: ContainerPlace): MountSettings[] {
  const own = [
    { source: run.kind === 'script' ? script : null, target: SCRIPT_TARGET },
    { source: secrets.directory, target: SECRETS_TARGET },
    { source: secrets.envFile, target: SECRET_VARIABLES_TARGET },
  ];
  return [
    ...mounts.flatMap((mount) => (mount.kind === 'folder' ? [bindOf(mount)] : [])),
    ...own.flatMap(({ source, target }) => (source === null ? [] : [bindOf({ source, target, readOnly: true })])),
  ];
}

interface Bind {
  readonly source: string;
  readonly target: string;
  readonly readOnly: boolean;
}

function bindOf({ source, target, readOnly }: Bind): MountSettings {
  return { Type: 'bind', Source: source, Target: target, ReadOnly: readOnly };
}
