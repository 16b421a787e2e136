import { execFile } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, realpathSync, symlinkSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';
import { present } from '../../shared/assert.js';
import type { Clock } from '../../shared/clock.js';
import { AppError } from '../../shared/errors.js';
import type { AllocationId } from '../../shared/ids.js';
import type { VolumeMount } from '../../shared/job-spec/staging-spec.js';
import { type ProgramRunner, runnerOf } from '../../shared/run-program.js';
import type { Mount } from '../driver/driver.js';
import { type Folder, lookAt } from './folder.js';
import { makeFolders } from './workspace.js';

/** A folder that the node's operator lets tasks mount. */
export interface NodeVolume {
  readonly name: string;
  readonly writable: boolean;
  readonly place:
    | FolderPlace
    /** Memory, made anew for each attempt. */
    | { readonly kind: 'tmpfs'; readonly sizeMiB: number };
}

export interface FolderPlace {
  readonly kind: 'folder';
  readonly path: string;
  /** It is a mount point, and empty of meaning while nothing is mounted there. */
  readonly mustBeMounted: boolean;
}

export interface VolumePlaces {
  /** The attempt's workspace as it is here, and as the task sees it. */
  readonly workspace: string;
  readonly seenWorkspace: string;
  /** Where file systems of the attempt's own are mounted for a task that sees what this process sees. */
  readonly ownMounts: string;
  readonly view: TaskView['kind'];
  readonly signal: AbortSignal;
}

/** How the tasks of a driver see the files of their node. */
export type TaskView =
  /** As this process does: the driver mounts nothing, and volumes are links. */
  | { readonly kind: 'node' }
  /** In a root of their own. */
  | { readonly kind: 'container'; readonly workspace: (id: AllocationId) => string }
  /** As on the node, but for what the driver mounts for each. */
  | { readonly kind: 'cell'; readonly workspace: (id: AllocationId) => string };

export interface ProvidedVolumes {
  readonly mounts: readonly Mount[];
  readonly env: Readonly<Record<string, string>>;
}

const LOOK_LIMIT_MS = 10_000;
const MAX_LOOK_BYTES = 65_536;
/**
 * Folders in and below which a volume may be mounted although the node has them. Elsewhere it could stand in for a
 * program that runs before a task's privileges are dropped.
 */
const OPEN_PLACES = ['data', 'media', 'mnt', 'scratch', 'srv', 'tmp', 'work', 'workspace'];

/** The volumes of this node. */
export class Volumes {
  readonly #volumes: ReadonlyMap<string, NodeVolume>;
  /** One for each, so that one that hangs does not hold up the others. */
  readonly #runners: ReadonlyMap<string, ProgramRunner>;

  constructor(volumes: readonly NodeVolume[], clock: Clock) {
    const limits = { clock, timeLimitMs: LOOK_LIMIT_MS, maxOutputBytes: MAX_LOOK_BYTES };
    this.#volumes = new Map(volumes.map((volume) => [volume.name, volume]));
    this.#runners = new Map(volumes.map(({ name }) => [name, runnerOf(limits)]));
  }

  /** Makes the volumes of an attempt reachable. Throws `task-start-failed`, naming the volume and a remedy. */
  async provide(wanted: readonly VolumeMount[], places: VolumePlaces): Promise<ProvidedVolumes> {
    const mounts: Mount[] = [];
    const env: Record<string, string> = {};
    for (const each of wanted) {
      const variable = `BERTH_VOLUME_${each.name.toUpperCase().replace(/[^A-Z0-9]/g, '_')}`;
      const volume = this.#find(each);
      if (places.view === 'node') {
        const source = await this.#sourceOnNode(volume, each, places);
        env[variable] = source;
        linkInto(places.workspace, each, source);
      } else {
        const mount = await this.#mountOf(volume, each, places);
        mounts.push(mount);
        env[variable] = mount.target;
      }
    }
    // One may lie below another, which is mounted before it.
    return { mounts: mounts.sort((left, right) => left.target.length - right.target.length), env };
  }

  #find(wanted: VolumeMount): NodeVolume {
    const volume = this.#volumes.get(wanted.name);
    if (!volume) throw fault(wanted, 'this node has none of that name', 'its operator sets --volume');
    if (wanted.writable && !volume.writable) {
      throw fault(wanted, 'it is read-only on this node', 'ask for it with readOnly: true');
    }
    if (volume.place.kind === 'tmpfs' && wanted.subpath !== undefined) {
      throw fault(wanted, `it is new memory, without a folder "${wanted.subpath}"`, 'leave the subpath out');
    }
    return volume;
  }

  async #sourceOnNode({ place }: NodeVolume, wanted: VolumeMount, places: VolumePlaces): Promise<string> {
    if (place.kind === 'tmpfs') return mountMemory(wanted, place.sizeMiB, places.ownMounts);
    return (await this.#folderOf(place, wanted, places.signal)).path;
  }

  async #mountOf({ place }: NodeVolume, wanted: VolumeMount, places: VolumePlaces): Promise<Mount> {
    const isAbsolute = wanted.mount.startsWith('/');
    const target = isAbsolute ? wanted.mount : join(places.seenWorkspace, wanted.mount);
    if (places.view === 'cell') {
      if (isAbsolute) refusePlace(wanted);
      else makeFolders(realpathSync(places.workspace), wanted.mount);
    }
    if (place.kind === 'tmpfs') return { kind: 'memory', sizeMiB: place.sizeMiB, target };
    const { path, identity } = await this.#folderOf(place, wanted, places.signal);
    if (places.view === 'cell' || !wanted.writable) refuseMountsBelow(path, wanted);
    return { kind: 'folder', source: path, identity, target, readOnly: !wanted.writable };
  }

  /** The folder that is meant, when it lies within the volume wherever links lead. */
  async #folderOf(place: FolderPlace, wanted: VolumeMount, signal: AbortSignal): Promise<Folder> {
    const run = present(this.#runners.get(wanted.name), 'runner of a volume');
    const seen = await lookAt(place.path, wanted.subpath, { run, signal });
    signal.throwIfAborted();
    if (typeof seen === 'string') throw fault(wanted, seen, 'is it there on this node?');
    const { root, folder } = seen;
    if (place.mustBeMounted && !mountPoints().includes(root)) {
      throw fault(wanted, `nothing is mounted at ${place.path}`, 'its operator mounts it');
    }
    if (folder.path === root || folder.path.startsWith(`${root === '/' ? '' : root}/`)) return folder;
    const what = `its subpath "${wanted.subpath}" leads out of it, to ${folder.path}`;
    throw fault(wanted, what, 'name a folder within it');
  }
}

/** Only the folder itself becomes read-only, and below it a task would find an empty folder, or what it may write. */
function refuseMountsBelow(source: string, wanted: VolumeMount): void {
  const place = mountPoints().find((path) => path.startsWith(`${source}/`));
  if (place === undefined) return;
  throw fault(wanted, `${place} is mounted below it`, 'its operator names the file systems one by one');
}

function refusePlace(wanted: VolumeMount): void {
  const [, top = '', below] = wanted.mount.split('/');
  const isOpen = OPEN_PLACES.includes(top) ? top !== 'tmp' || below !== undefined : !existsSync(`/${top}`);
  const memory = wanted.mount.startsWith('/dev/shm/');
  if (isOpen || memory) return;
  const remedy = `mount it below ${OPEN_PLACES.map((name) => `/${name}`).join(', ')}, or below a name that / does not have`;
  throw fault(wanted, `it cannot be mounted at ${wanted.mount}, which is the node's own`, remedy);
}

function linkInto(workspace: string, wanted: VolumeMount, source: string): void {
  if (wanted.mount.startsWith('/')) {
    const remedy = 'mount it at a relative path, use its BERTH_VOLUME_ variable, or ask for "isolation = full"';
    throw fault(wanted, `this node isolates no processes, and cannot mount it at ${wanted.mount}`, remedy);
  }
  makeFolders(realpathSync(workspace), dirname(wanted.mount));
  symlinkSync(source, join(workspace, wanted.mount));
}

async function mountMemory(wanted: VolumeMount, sizeMiB: number, ownMounts: string): Promise<string> {
  const place = join(ownMounts, wanted.name);
  mkdirSync(place, { recursive: true, mode: 0o700 });
  try {
    await run('mount', ['-t', 'tmpfs', '-o', `size=${sizeMiB}m,mode=0700,nosuid,nodev`, 'berth', place]);
    return place;
  } catch (cause) {
    throw fault(wanted, (cause as Error).message.trim(), 'the agent must be root to make volumes of memory', cause);
  }
}

/** Takes down what is mounted below a folder. */
export async function unmountBelow(folder: string): Promise<void> {
  for (const place of mountPoints()) if (place.startsWith(`${folder}/`)) await run('umount', ['-l', place]);
}

const run = promisify(execFile);

const MOUNT_POINT_FIELD = 4;

/** The kernel writes blanks and the like in octal. */
function mountPoints(): string[] {
  return readFileSync('/proc/self/mountinfo', 'utf8')
    .split('\n')
    .map((line) => line.split(' ')[MOUNT_POINT_FIELD] ?? '')
    .map((path) => path.replace(/\\([0-7]{3})/g, (_, octal: string) => String.fromCharCode(Number.parseInt(octal, 8))));
}

function fault(wanted: VolumeMount, what: string, remedy: string, cause?: unknown): AppError {
  return new AppError('task-start-failed', `volume "${wanted.name}": ${what}; ${remedy}`, { cause });
}
