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
import { plgData } from './rimrock/plgdata.js';
import { rimrockBackend } from './rimrock/rimrock-backend.js';
import { rimrockService } from './rimrock/rimrock-call.js';
import { RimrockShell } from './rimrock/rimrock-shell.js';
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
      return openRest(target, means);
    case 'rimrock':
      return openRimrock(target, means);
    default:
      return assertNever(target.backend, 'backend');
  }
}

/** slurmrestd has no files: they are on a disk of this machine, or reached over SSH. */
function openRest(target: HpcTarget, means: BackendMeans): HpcBackend {
  const shell = shellOf(target, means);
  const credential = credentialOf(target, means);
  return restBackend({ target, credential, clock: means.clock, files: shellFiles(shell), close: () => shell.close() });
}

function openRimrock(target: HpcTarget, means: BackendMeans): HpcBackend {
  const { endpoint, ssh, plgdata: place, stagingRoot } = target;
  const credential = credentialOf(target, means);
  if (place === null) {
    const host = present(ssh ?? undefined, 'the login node').host;
    return rimrockBackend({ target, credential, host, shell: shellOf(target, means), plgdata: undefined });
  }
  const { host } = place;
  const plgdata = plgData(place, credential);
  const shell = new RimrockShell({ rimrock: rimrockService(endpoint ?? '', credential), host, plgdata, stagingRoot });
  return rimrockBackend({ target, credential, host, shell, plgdata });
}

function shellOf({ ssh }: HpcTarget, { env, sshAgentSocket, secret }: BackendMeans): RemoteShell {
  if (ssh === null) return localShell(env);
  const { credential } = ssh;
  const privateKey = credential === null ? undefined : () => secret(credential);
  return new SshShell({ endpoint: ssh, privateKey, agentSocket: sshAgentSocket });
}
