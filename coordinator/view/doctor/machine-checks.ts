import { accessSync, constants, existsSync, readFileSync, statfsSync } from 'node:fs';
import { join } from 'node:path';
import type { Clock } from '../../../shared/clock.js';
import { formatBytes, MIB } from '../../../shared/units.js';
import { connectFault } from './connect.js';
import { type Finding, fail, ok, warn } from './finding.js';

/** The machine that is looked at: below `root`, so that a test can make one up. */
export interface Machine {
  readonly root: string;
  /** PATH. */
  readonly path: string;
  /** Folders whose file system must have room; those that are not there are passed over. */
  readonly stateDirs: readonly string[];
  readonly clock: Clock;
}

const OLDEST_NODE = [20, 19] as const;
const LEAST_FILES = 4_096;
const LEAST_WATCHES = 8_192;
const FULL_BYTES = 100 * MIB;
const SCARCE_BYTES = 1_024 * MIB;
const SOCKET_LIMIT_MS = 2_000;

/** What a coordinator or an agent would find on this machine. Changes nothing. */
export async function checkMachine(machine: Machine): Promise<readonly Finding[]> {
  return [
    checkNode(process.versions.node),
    checkCgroups(machine),
    await checkDocker(machine),
    checkNvidia(machine),
    ...checkDisks(machine),
    checkFiles(machine),
    checkInotify(machine),
  ];
}

export function checkNode(version: string): Finding {
  const [major = 0, minor = 0] = version.split('.').map(Number);
  const [oldestMajor, oldestMinor] = OLDEST_NODE;
  if (major > oldestMajor || (major === oldestMajor && minor >= oldestMinor)) return ok('node', `Node ${version}`);
  return fail('node', `Node ${version} is too old`, `install Node ${OLDEST_NODE.join('.')} or newer`);
}

function checkCgroups({ root }: Machine): Finding {
  if (existsSync(join(root, 'sys/fs/cgroup/cgroup.controllers'))) return ok('cgroups', 'version 2');
  if (existsSync(join(root, 'sys/fs/cgroup/memory'))) {
    return warn('cgroups', 'version 1', 'boot with systemd.unified_cgroup_hierarchy=1 for limits without root');
  }
  return warn('cgroups', 'none are mounted', "mount /sys/fs/cgroup; without it a task's limits cannot be enforced");
}

async function checkDocker({ root, clock }: Machine): Promise<Finding> {
  const socket = join(root, 'var/run/docker.sock');
  if (!existsSync(socket)) {
    return warn('docker', 'no /var/run/docker.sock', 'install Docker if this machine is to run containers');
  }
  const fault = await connectFault({ path: socket }, clock, SOCKET_LIMIT_MS);
  if (fault === undefined) return ok('docker', 'its socket answers');
  if (fault === 'EACCES') {
    return fail('docker', 'its socket may not be used', 'run as root, or: usermod -aG docker USER, and log in anew');
  }
  return fail('docker', `its socket does not answer (${fault})`, 'start it: systemctl start docker');
}

/** The driver, its device files and its tool come apart: each alone is of no use to a task. */
function checkNvidia({ root, path }: Machine): Finding {
  const version = /Kernel Module\s+(?:for \S+\s+)?([\d.]+)/.exec(
    readText(join(root, 'proc/driver/nvidia/version')) ?? '',
  );
  const hasTool = path.split(':').some((folder) => folder !== '' && isExecutable(join(root, folder, 'nvidia-smi')));
  if (version === null) {
    if (!hasTool) return ok('nvidia', 'no driver is loaded');
    return warn(
      'nvidia',
      'nvidia-smi is there, and no driver is loaded',
      'modprobe nvidia, or install the driver anew',
    );
  }
  const driver = `driver ${version[1]}`;
  if (!hasTool)
    return fail('nvidia', `${driver}, and no nvidia-smi in PATH`, 'install nvidia-smi: without it no GPU is found');
  const missing = ['nvidiactl', 'nvidia-uvm', 'nvidia0'].filter((name) => !existsSync(join(root, 'dev', name)));
  if (missing.length === 0) return ok('nvidia', driver);
  return fail('nvidia', `${driver}, and no /dev/${missing.join(', /dev/')}`, 'make them: nvidia-modprobe -u -c 0');
}

function checkDisks({ root, stateDirs }: Machine): readonly Finding[] {
  return stateDirs
    .filter((dir) => existsSync(join(root, dir)))
    .map((dir) => checkDisk(dir, freeBytes(join(root, dir))));
}

export function checkDisk(dir: string, bytes: number): Finding {
  const unit = bytes < SCARCE_BYTES ? MIB : 1_024 * MIB;
  const detail = `${formatBytes(bytes - (bytes % unit))} free at ${dir}`;
  const fix = 'make room: with a full disk jobs wait, and none is accepted';
  if (bytes < FULL_BYTES) return fail('disk', detail, fix);
  return bytes < SCARCE_BYTES ? warn('disk', detail, fix) : ok('disk', detail);
}

function freeBytes(path: string): number {
  const { bavail, bsize } = statfsSync(path);
  return bavail * bsize;
}

function checkFiles({ root }: Machine): Finding {
  const limit = /^Max open files\s+(\S+)/m.exec(readText(join(root, 'proc/self/limits')) ?? '')?.[1];
  if (limit === undefined) return warn('files', 'the limit on open files is not known', 'mount /proc');
  if (limit === 'unlimited' || Number(limit) >= LEAST_FILES) return ok('files', `${limit} may be open`);
  return warn(
    'files',
    `only ${limit} may be open`,
    `ulimit -n ${LEAST_FILES} before the daemon, or LimitNOFILE= in its unit`,
  );
}

function checkInotify({ root }: Machine): Finding {
  const watches = Number(readText(join(root, 'proc/sys/fs/inotify/max_user_watches')) ?? Number.NaN);
  if (watches >= LEAST_WATCHES) return ok('inotify', `${watches} watches a user`);
  const said = Number.isNaN(watches) ? 'it is not there' : `only ${watches} watches a user`;
  return warn('inotify', said, `sysctl fs.inotify.max_user_watches=${LEAST_WATCHES}`);
}

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}

function readText(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8').trim();
  } catch {
    return undefined;
  }
}
