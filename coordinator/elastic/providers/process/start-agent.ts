import { spawn } from 'node:child_process';
import { closeSync, openSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { cpusOf, formatMiB } from '../../../../shared/units.js';
import type { MachineRecord } from './machine-folders.js';
import { agentFolder, temporaryFolderOf } from './machine-processes.js';

const ENTRY = fileURLToPath(new URL('../../../../scripts/entry.js', import.meta.url));
const DEFAULT_PATH = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';

export interface AgentStart {
  readonly folder: string;
  readonly order: MachineRecord['order'];
  readonly agentFlags: readonly string[];
  readonly environment: Readonly<Record<string, string | undefined>>;
}

/** Starts the agent that is the machine; it outlives us. False when there can be no more processes. */
export function startAgent({ folder, order, agentFlags, environment }: AgentStart): boolean {
  const log = openSync(join(folder, 'agent.log'), 'a', 0o600);
  const child = spawn(process.execPath, [ENTRY, 'agent', ...flagsOf(folder, order), ...agentFlags], {
    cwd: folder,
    detached: true,
    stdio: ['ignore', log, log],
    env: {
      PATH: environment.PATH ?? DEFAULT_PATH,
      HOME: environment.HOME ?? folder,
      TMPDIR: temporaryFolderOf(folder),
    },
  });
  // Told by the missing pid already.
  child.on('error', () => {});
  child.unref();
  closeSync(log);
  return child.pid !== undefined;
}

/** The state directory stands first: by it the agent is recognised. */
function flagsOf(folder: string, { nodeId, labels, shape, join: { url } }: MachineRecord['order']): string[] {
  const { cpuMillis, memoryMiB, diskMiB } = shape.capacity;
  return [
    ...['--state-dir', agentFolder(folder), '--url', url, '--token-file', join(folder, 'join.token')],
    ...['--name', nodeId, '--cpus', String(cpusOf(cpuMillis)), '--memory', formatMiB(memoryMiB)],
    ...(diskMiB > 0 ? ['--disk', formatMiB(diskMiB)] : []),
    ...['--gpus', String(shape.gpus.length)],
    ...Object.entries(labels).flatMap(([key, value]) => ['--label', `${key}=${value}`]),
    // Its tasks are those of whoever tries it out.
    ...['--isolation', 'none'],
    ...(shape.drivers.includes('docker') ? [] : ['--docker-host', 'none']),
  ];
}
