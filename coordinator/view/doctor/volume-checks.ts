import { existsSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import type { Clock } from '../../../shared/clock.js';
import { connectFault } from './connect.js';
import { type Finding, fail, ok } from './finding.js';

export interface VolumesToCheck {
  /** The file with the settings of this machine's agent; nothing is checked where there is none. */
  readonly settings: string;
  /** PATH. */
  readonly path: string;
  readonly clock: Clock;
}

interface NetworkVolume {
  readonly name: string;
  readonly type: 'nfs' | 'smb';
  readonly source: string;
  readonly credentials?: string;
}

const PROTOCOLS = {
  nfs: { program: 'mount.nfs', package: 'nfs-common', port: 2_049, host: /^([^:]+):/ },
  smb: { program: 'mount.cifs', package: 'cifs-utils', port: 445, host: /^\/\/([^/]+)/ },
} as const;
/** Where those programs are, which are nobody's to call but root's. */
const SYSTEM_FOLDERS = ['/usr/sbin', '/sbin'];
const CONNECT_LIMIT_MS = 2_000;
const READABLE_BY_OTHERS = 0o077;

/** Whether this machine could mount the volumes that its agent takes from others. Mounts nothing. */
export async function checkVolumes(machine: VolumesToCheck): Promise<readonly Finding[]> {
  return Promise.all((await volumesOf(machine.settings)).map((volume) => checkVolume(volume, machine)));
}

async function checkVolume(volume: NetworkVolume, { path, clock }: VolumesToCheck): Promise<Finding> {
  const { name, type, source, credentials } = volume;
  const { program, package: owner, port, host } = PROTOCOLS[type];
  const failed = (what: string, fix: string): Finding => fail('volumes', `${name} (${source}): ${what}`, fix);
  if (![...path.split(':'), ...SYSTEM_FOLDERS].some((folder) => folder && existsSync(join(folder, program)))) {
    return failed(`no program ${program}`, `apt-get install ${owner}`);
  }
  const found = credentials === undefined ? undefined : statSync(credentials, { throwIfNoEntry: false });
  if (credentials !== undefined && found === undefined) return failed(`no file ${credentials}`, 'write it');
  if (found !== undefined && (found.mode & READABLE_BY_OTHERS) !== 0) {
    return failed(`${credentials} can be read by others`, `chmod 600 ${credentials}, and change the password`);
  }
  const server = host.exec(source)?.[1] ?? source;
  const fault = await connectFault({ host: server, port }, clock, CONNECT_LIMIT_MS);
  if (fault === undefined) return ok('volumes', `${name} (${source}): its server answers`);
  return failed(`its server does not answer (${fault})`, `start it, or open port ${port} of ${server} to this machine`);
}

/** What the agent makes of the rest of its settings it says itself, at its start. */
async function volumesOf(settings: string): Promise<NetworkVolume[]> {
  if (!existsSync(settings)) return [];
  const { parse } = await import('yaml');
  const { volumes } = (parse(readFileSync(settings, 'utf8')) ?? {}) as { readonly volumes?: unknown };
  if (typeof volumes !== 'object' || volumes === null || Array.isArray(volumes)) return [];
  return Object.entries(volumes)
    .map(([name, volume]) => ({ ...volume, name }) as NetworkVolume)
    .filter(({ type, source }) => Object.hasOwn(PROTOCOLS, type ?? '') && typeof source === 'string');
}
