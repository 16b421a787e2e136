import { spawn } from 'node:child_process';
import { closeSync, openSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { agentFlags } from '../agent-flags.js';
import type { MachineRecord } from './machine-folders.js';
import { agentFolder, temporaryFolderOf } from './machine-processes.js';

const ENTRY = fileURLToPath(new URL('../../../../scripts/entry.js', import.meta.url));
const DEFAULT_PATH = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';

export interface AgentStart {
  readonly folder: string;
  readonly order: MachineRecord['order'];
  readonly moreFlags: readonly string[];
  readonly environment: Readonly<Record<string, string | undefined>>;
}

/** Starts the agent that is the machine; it outlives us. False when there can be no more processes. */
export function startAgent({ folder, order, moreFlags, environment }: AgentStart): boolean {
  const flags = agentFlags(order, {
    stateDir: agentFolder(folder),
    tokenFile: join(folder, 'join.token'),
    caFile: join(folder, 'ca.pem'),
  });
  const log = openSync(join(folder, 'agent.log'), 'a', 0o600);
  // Its tasks are those of whoever tries it out.
  const child = spawn(process.execPath, [ENTRY, 'agent', ...flags, '--isolation', 'none', ...moreFlags], {
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
