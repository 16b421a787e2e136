import { existsSync, mkdirSync, readFileSync, rmdirSync, writeFileSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';

/** What can be limited or counted for a group of processes. */
export const CONTROLLERS = ['cpu', 'memory', 'pids', 'cpuacct', 'io', 'cpuset'] as const;
export type Controller = (typeof CONTROLLERS)[number];

/** Where this process may make control groups: its own, and nothing above or beside it. */
export interface CgroupHome {
  readonly version: 1 | 2;
  /** The folder of each controller that there is; with version 2 they are all one. */
  readonly folders: ReadonlyMap<Controller, string>;
}

/** With version 2 only leaves may hold processes, so the agent itself moves into one. */
const AGENT_LEAF = 'berth-agent';
const NAMES_V1: Readonly<Record<Controller, string>> = {
  cpu: 'cpu',
  memory: 'memory',
  pids: 'pids',
  cpuacct: 'cpuacct',
  io: 'blkio',
  cpuset: 'cpuset',
};
const NAMES_V2: Readonly<Record<Controller, string>> = { ...NAMES_V1, cpuacct: 'cpu', io: 'io' };

interface Hierarchy {
  readonly type: string;
  /** What of the hierarchy is mounted, and where. */
  readonly root: string;
  readonly at: string;
  readonly options: readonly string[];
}

/**
 * Finds where control groups may be made; undefined where that is nowhere. A machine with both versions is used with
 * the one that has the memory controller.
 *
 * @param proc  the folder of this process in /proc
 */
export function findCgroupHome(proc = '/proc/self'): CgroupHome | undefined {
  try {
    const hierarchies = readHierarchies(readFileSync(join(proc, 'mountinfo'), 'utf8'));
    const own = ownPaths(readFileSync(join(proc, 'cgroup'), 'utf8'));
    return homeV2(hierarchies, own) ?? homeV1(hierarchies, own);
  } catch {
    // No permission, or no such kernel: the same to the caller.
    return undefined;
  }
}

function homeV1(hierarchies: readonly Hierarchy[], own: ReadonlyMap<string, string>): CgroupHome | undefined {
  const folders = new Map<Controller, string>();
  for (const controller of CONTROLLERS) {
    const name = NAMES_V1[controller];
    const hierarchy = hierarchies.find(({ type, options }) => type === 'cgroup' && options.includes(name));
    const folder = hierarchy && folderOf(hierarchy, own.get(name));
    if (folder !== undefined && canMakeGroups(folder)) folders.set(controller, folder);
  }
  return folders.has('memory') && folders.has('pids') ? { version: 1, folders } : undefined;
}

function homeV2(hierarchies: readonly Hierarchy[], own: ReadonlyMap<string, string>): CgroupHome | undefined {
  const hierarchy = hierarchies.find(({ type }) => type === 'cgroup2');
  const found = hierarchy && folderOf(hierarchy, own.get(''));
  if (found === undefined) return undefined;
  const folder = basename(found) === AGENT_LEAF ? dirname(found) : found;
  const offered = readFileSync(join(folder, 'cgroup.controllers'), 'utf8').trim().split(' ');
  if (!offered.includes('memory') || !offered.includes('pids') || !canMakeGroups(folder)) return undefined;
  moveSelf(folder);
  const used = CONTROLLERS.filter((controller) => offered.includes(NAMES_V2[controller]));
  const names = new Set(used.map((controller) => `+${NAMES_V2[controller]}`));
  writeFileSync(join(folder, 'cgroup.subtree_control'), [...names].join(' '));
  return { version: 2, folders: new Map(used.map((controller) => [controller, folder])) };
}

/** The machine's own root may keep processes beside its groups. */
function moveSelf(folder: string): void {
  if (!existsSync(join(folder, 'cgroup.type'))) return;
  const leaf = join(folder, AGENT_LEAF);
  mkdirSync(leaf, { recursive: true });
  writeFileSync(join(leaf, 'cgroup.procs'), String(process.pid));
}

function folderOf({ root, at }: Hierarchy, own: string | undefined): string | undefined {
  if (own === undefined) return undefined;
  const below = root === '/' ? own : own.slice(own.startsWith(root) ? root.length : 0);
  const folder = join(at, below);
  return existsSync(folder) ? folder : undefined;
}

function canMakeGroups(folder: string): boolean {
  const trial = join(folder, `berth-trial-${process.pid}`);
  try {
    mkdirSync(trial);
    rmdirSync(trial);
    return true;
  } catch {
    return false;
  }
}

/** `36 35 0:30 / /sys/fs/cgroup/cpu rw,relatime shared:9 - cgroup cgroup rw,cpu` */
function readHierarchies(mountinfo: string): Hierarchy[] {
  const lines = mountinfo.split('\n').map((line) => line.split(' - '));
  return lines.flatMap(([place = '', kind = '']) => {
    const [, , , root, at] = place.split(' ');
    const [type, , options] = kind.split(' ');
    const isCgroup = type === 'cgroup' || type === 'cgroup2';
    return isCgroup && root && at ? [{ type, root, at, options: options?.split(',') ?? [] }] : [];
  });
}

/** `4:cpu,cpuacct:/unit`; version 2 has no controller's name. */
function ownPaths(text: string): ReadonlyMap<string, string> {
  const paths = new Map<string, string>();
  for (const line of text.split('\n')) {
    const match = /^\d+:([^:]*):(.*)$/.exec(line);
    for (const name of match?.[1]?.split(',') ?? []) paths.set(name, match?.[2] ?? '/');
  }
  return paths;
}
