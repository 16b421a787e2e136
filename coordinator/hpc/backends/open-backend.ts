import { type HpcBackend, HpcError } from '../backend.js';
import { localShell } from '../shell/local-shell.js';
import type { RemoteShell } from '../shell/remote-shell.js';
import { shellFiles } from '../shell/shell-files.js';
import { SshShell } from '../shell/ssh-shell.js';
import type { HpcTarget } from '../target.js';
import { credentialOf } from './credential.js';
import type { BackendMeans } from './means.js';
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
    case 'slurm-rest': {
      const shell = shellOf(target, means);
      const close = (): Promise<void> => shell.close();
      return restBackend({
        target,
        clock: means.clock,
        credential: credentialOf(target, means),
        files: shellFiles(shell),
        close,
      });
    }
    default:
      throw new HpcError('configuration', `the backend ${target.backend} is not part of this version`);
  }
}

function shellOf({ ssh }: HpcTarget, { env, sshAgentSocket, secret }: BackendMeans): RemoteShell {
  if (ssh === null) return localShell(env);
  const { credential } = ssh;
  const privateKey = credential === null ? undefined : () => secret(credential);
  return new SshShell({ endpoint: ssh, privateKey, agentSocket: sshAgentSocket });
}
