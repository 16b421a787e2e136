import { execFile } from 'node:child_process';
import { existsSync, mkdirSync, realpathSync, symlinkSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';
import { present } from '../../shared/assert.js';
import type { Clock } from '../../shared/clock.js';
import { AppError, isAppError } from '../../shared/errors.js';
import type { AllocationId } from '../../shared/ids.js';
import type { VolumeMount } from '../../shared/job-spec/staging-spec.js';
import { type ProgramRunner, runnerOf } from '../../shared/run-program.js';
import type { Mount } from '../driver/driver.js';
import { type Folder, lookAt, type Seen } from './folder.js';
import { mountTable } from './mount-table.js';
import type { NetworkMounts } from './network-mounts.js';
import type { FolderPlace, NetworkPlace, NodeVolume } from './node-volume.js';
import { makeFolders } from './workspace.js';

export interface VolumePlaces {
  /** The attempt's workspace as it is here, and as the task sees it. */
  readonly workspace: string;
  readonly seenWorkspace: string;
  /** Where file systems of the attempt's own are mounted for a task that sees what this process sees. */
  readonly ownMounts: string;
  readonly view: TaskView['kind'];
  readonly allocationId: AllocationId;
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

  readonly #network: NetworkMounts;

  constructor(volumes: readonly NodeVolume[], network: NetworkMounts, clock: Clock) {
    this.#network = network;
    const limits = { clock, timeLimitMs: LOOK_LIMIT_MS, maxOutputBytes: MAX_LOOK_BYTES };
    this.#volumes = new Map(volumes.map((volume) => [volume.name, volume]));
    this.#runners = new Map(volumes.map(({ name }) => [name, runnerOf(limits)]));
  }

  /**
   * Makes the volumes of an attempt reachable. Throws `task-start-failed`, naming the volume and a remedy, or
   * `unreachable` for one whose server does not do it now.
   */
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
    return (await this.#folderOf(place, wanted, places)).path;
  }

  async #mountOf({ place }: NodeVolume, wanted: VolumeMount, places: VolumePlaces): Promise<Mount> {
    const isAbsolute = wanted.mount.startsWith('/');
    const target = isAbsolute ? wanted.mount : join(places.seenWorkspace, wanted.mount);
    if (places.view === 'cell') {
      if (isAbsolute) refusePlace(wanted);
      else makeFolders(realpathSync(places.workspace), wanted.mount);
    }
    if (place.kind === 'tmpfs') return { kind: 'memory', sizeMiB: place.sizeMiB, target };
    const { path, identity } = await this.#folderOf(place, wanted, places);
    if (places.view === 'cell' || !wanted.writable) refuseMountsBelow(path, wanted);
    return { kind: 'folder', source: path, identity, target, readOnly: !wanted.writable };
  }

  async #folderOf(place: FolderPlace | NetworkPlace, wanted: VolumeMount, places: VolumePlaces): Promise<Folder> {
    if (place.kind === 'folder') return folderIn(place, wanted, await this.#look(place.path, wanted, places));
    const inNetwork = async (): Promise<readonly [FolderPlace, Seen]> => {
      const path = await this.#mounted(wanted, places);
      return [{ kind: 'folder', path, mustBeMounted: true }, await this.#look(path, wanted, places)];
    };
    let [folder, seen] = await inNetwork();
    if (seen.kind === 'unfit' && seen.what === 'root') {
      // What was mounted is of a server that has forgotten it.
      await this.#network.renew(wanted.name);
      [folder, seen] = await inNetwork();
    }
    if (seen.kind === 'silent') throw unreachable(wanted, `${place.source}: ${seen.message}`);
    return folderIn(folder, wanted, seen);
  }

  async #mounted(wanted: VolumeMount, { allocationId }: VolumePlaces): Promise<string> {
    try {
      return await this.#network.use(wanted.name, allocationId);
    } catch (error) {
      if (!isAppError(error, 'unreachable')) throw fault(wanted, (error as Error).message, 'its operator sees to it');
      throw unreachable(wanted, `${error.message}; ${error.hint}`);
    }
  }

  async #look(path: string, wanted: VolumeMount, { signal }: VolumePlaces): Promise<Seen> {
    const run = present(this.#runners.get(wanted.name), 'runner of a volume');
    const seen = await lookAt(path, wanted.subpath, { run, signal });
    signal.throwIfAborted();
    return seen;
  }
}

/** The folder that is meant, when it lies within the volume wherever links lead. */
function folderIn(place: FolderPlace, wanted: VolumeMount, seen: Seen): Folder {
  if (seen.kind !== 'seen') throw fault(wanted, seen.message, 'is it there on this node?');
  const { root, folder } = seen;
  if (place.mustBeMounted && !isMountPoint(root)) {
    throw fault(wanted, `nothing is mounted at ${place.path}`, 'its operator mounts it');
  }
  if (folder.path === root || folder.path.startsWith(`${root === '/' ? '' : root}/`)) return folder;
  const what = `its subpath "${wanted.subpath}" leads out of it, to ${folder.path}`;
  throw fault(wanted, what, 'name a folder within it');
}

function isMountPoint(place: string): boolean {
  return mountTable().some(({ path }) => path === place);
}

/** Only the folder itself becomes read-only, and below it a task would find an empty folder, or what it may write. */
function refuseMountsBelow(source: string, wanted: VolumeMount): void {
  const below = mountTable().find(({ path }) => path.startsWith(`${source}/`));
  if (below === undefined) return;
  throw fault(wanted, `${below.path} is mounted below it`, 'its operator names the file systems one by one');
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
  for (const { path } of mountTable()) if (path.startsWith(`${folder}/`)) await run('umount', ['-l', path]);
}

const run = promisify(execFile);

function fault(wanted: VolumeMount, what: string, remedy: string, cause?: unknown): AppError {
  return new AppError('task-start-failed', `volume "${wanted.name}": ${what}; ${remedy}`, { cause });
}

/** Another node may do it, or this one later. */
function unreachable(wanted: VolumeMount, what: string): AppError {
  return new AppError('unreachable', `volume "${wanted.name}": ${what}`);
}
