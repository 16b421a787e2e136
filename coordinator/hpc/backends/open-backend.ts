import { assertNever, present } from '../../../shared/assert.js';
import type { HpcBackend } from '../backend.js';
import { localShell } from '../shell/local-shell.js';
import type { RemoteShell } from '../shell/remote-shell.js';
import { shellFiles } from '../shell/shell-files.js';
import { SshShell } from '../shell/ssh-shell.js';
import type { HpcTarget } from '../target.js';
import { commandBackend } from './command/command-backend.js';
import { credentialOf } from './credential.js';
import type { BackendMeans } from './means.js';
import { type RimrockOptions, rimrockBackend } from './rimrock/rimrock-backend.js';
import { sgeBackend } from './sge/sge-backend.js';
import { slurmBackend } from './slurm/slurm-backend.js';
import { restBackend } from './slurm-rest/rest-backend.js';

/** The backend of a target. Opens no connection before something is asked of it. */
export function openBackend(target: HpcTarget, means: BackendMeans): HpcBackend {
  switch (target.backend) {
    case 'slurm-local':
    case 'slurm-ssh':
      return slurmBackend(shellOf(target, means), target);
    case 'sge':
      return sgeBackend(shellOf(target, means), target);
    case 'command':
      return commandBackend(
        shellOf(target, means),
        present(target.commands ?? undefined, 'commands of the site'),
        target,
      );
    case 'slurm-rest':
      return restBackend({ ...httpParts(target, means), clock: means.clock });
    case 'rimrock':
      return rimrockBackend(httpParts(target, means));
    default:
      return assertNever(target.backend, 'backend');
  }
}

/** These have no files of their own: they are on a disk of this machine, or reached over SSH. */
function httpParts(target: HpcTarget, means: BackendMeans): RimrockOptions {
  const shell = shellOf(target, means);
  const credential = credentialOf(target, means);
  return { target, credential, files: shellFiles(shell), close: () => shell.close() };
}

function shellOf({ ssh }: HpcTarget, { env, sshAgentSocket, secret }: BackendMeans): RemoteShell {
  if (ssh === null) return localShell(env);
  const { credential } = ssh;
  const privateKey = credential === null ? undefined : () => secret(credential);
  return new SshShell({ endpoint: ssh, privateKey, agentSocket: sshAgentSocket });
}
