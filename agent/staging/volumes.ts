import { execFile } from 'node:child_process';
import { mkdirSync, readFileSync, realpathSync, statSync, symlinkSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';
import { AppError } from '../../shared/errors.js';
import type { VolumeMount } from '../../shared/job-spec/staging-spec.js';
import type { Mount } from '../driver/driver.js';
import { makeFolders } from './workspace.js';

/** A folder that the node's operator lets tasks mount. */
export interface NodeVolume {
  readonly name: string;
  readonly writable: boolean;
  readonly place: /** `mustBeMounted`: it is a mount point, and empty of meaning while nothing is mounted there. */
    | { readonly kind: 'folder'; readonly path: string; readonly mustBeMounted: boolean }
    /** Memory, made anew for each attempt. */
    | { readonly kind: 'tmpfs'; readonly sizeMiB: number };
}

export interface VolumePlaces {
  /** The attempt's workspace as it is here, and as the task sees it. */
  readonly workspace: string;
  readonly seenWorkspace: string;
  /** Where file systems of the attempt's own are mounted. */
  readonly ownMounts: string;
  /** Whether the driver mounts; else relative places become links, of isolated tasks only to what is not the agent's. */
  readonly reach: 'mounts' | 'links' | 'links-outside';
}

export interface ProvidedVolumes {
  readonly mounts: readonly Mount[];
  readonly env: Readonly<Record<string, string>>;
}

/** Makes the volumes of an attempt reachable. Throws `task-start-failed`, naming the volume and a remedy. */
export async function provideVolumes(
  wanted: readonly VolumeMount[],
  volumes: readonly NodeVolume[],
  places: VolumePlaces,
): Promise<ProvidedVolumes> {
  const mounts: Mount[] = [];
  const env: Record<string, string> = {};
  for (const each of wanted) {
    const source = sourceWithin(await rootOf(each, volumes, places), each);
    const variable = `BERTH_VOLUME_${each.name.toUpperCase().replace(/[^A-Z0-9]/g, '_')}`;
    if (places.reach === 'mounts') {
      if (!each.writable) refuseMountsBelow(source, each);
      const target = each.mount.startsWith('/') ? each.mount : join(places.seenWorkspace, each.mount);
      mounts.push({ source, target, readOnly: !each.writable });
      env[variable] = target;
    } else {
      env[variable] = source;
      linkInto(places.workspace, each, source);
    }
  }
  return { mounts, env };
}

async function rootOf(wanted: VolumeMount, volumes: readonly NodeVolume[], places: VolumePlaces): Promise<string> {
  const volume = volumes.find(({ name }) => name === wanted.name);
  if (!volume) throw fault(wanted, 'this node has none of that name', 'its operator sets --volume');
  if (wanted.writable && !volume.writable) {
    throw fault(wanted, 'it is read-only on this node', 'ask for it with readOnly: true');
  }
  if (volume.place.kind === 'tmpfs') return mountMemory(wanted, volume.place.sizeMiB, places);
  const { path, mustBeMounted } = volume.place;
  if (mustBeMounted && !isMountPoint(path)) {
    throw fault(wanted, `nothing is mounted at ${path}`, 'its operator mounts it');
  }
  return path;
}

/** The folder that is meant, when it lies within the volume wherever links lead. */
function sourceWithin(root: string, wanted: VolumeMount): string {
  const { subpath } = wanted;
  try {
    const realRoot = realpathSync(root);
    const source = subpath === undefined ? realRoot : realpathSync(join(realRoot, subpath));
    if (source !== realRoot && !source.startsWith(`${realRoot === '/' ? '' : realRoot}/`)) {
      throw fault(wanted, `its subpath "${subpath}" leads out of it, to ${source}`, 'name a folder within it');
    }
    if (statSync(source).isDirectory()) return source;
  } catch (error) {
    if (error instanceof AppError) throw error;
    throw fault(wanted, (error as Error).message, 'is it there on this node?');
  }
  throw fault(wanted, `${subpath ?? root} is not a folder`, 'name a folder');
}

/** A container's engine makes only the folder itself read-only, depending on kernel and version. */
function refuseMountsBelow(source: string, wanted: VolumeMount): void {
  const place = mountPoints().find((path) => path.startsWith(`${source}/`));
  if (place === undefined) return;
  const what = `${place} is mounted below it, and may be writable for a container`;
  throw fault(wanted, what, 'its operator names the file systems one by one');
}

function linkInto(workspace: string, wanted: VolumeMount, source: string): void {
  if (wanted.mount.startsWith('/')) {
    const remedy = 'mount it at a relative path, or use its BERTH_VOLUME_ variable';
    throw fault(wanted, `this driver cannot mount it at ${wanted.mount} on this node`, remedy);
  }
  makeFolders(realpathSync(workspace), dirname(wanted.mount));
  symlinkSync(source, join(workspace, wanted.mount));
}

async function mountMemory(wanted: VolumeMount, sizeMiB: number, { ownMounts, reach }: VolumePlaces): Promise<string> {
  if (reach === 'links-outside') {
    throw fault(wanted, 'isolated processes of this node cannot enter its memory', 'run the step as a container');
  }
  const place = join(ownMounts, wanted.name);
  // A container's user may be anybody.
  const mode = reach === 'mounts' ? '1777' : '0700';
  mkdirSync(place, { recursive: true, mode: 0o700 });
  try {
    await run('mount', ['-t', 'tmpfs', '-o', `size=${sizeMiB}m,mode=${mode},nosuid,nodev`, 'berth', place]);
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

function isMountPoint(path: string): boolean {
  try {
    return mountPoints().includes(realpathSync(path));
  } catch {
    return false;
  }
}

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
