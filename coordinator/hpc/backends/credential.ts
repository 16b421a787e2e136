import { execFile } from 'node:child_process';
import { HpcError } from '../backend.js';
import { HPC_LIMITS } from '../remote-job.js';
import type { HpcTarget } from '../target.js';
import type { BackendMeans, Credential } from './means.js';
import { oidcCredential } from './oidc.js';

/** From an OpenID provider, from a secret, read anew each time, or from a command such as `scontrol token`. */
export function credentialOf({ credential, credentialCommand, oidc }: HpcTarget, means: BackendMeans): Credential {
  if (oidc !== null) return oidcCredential(oidc, means);
  if (credentialCommand === null) {
    return { read: async () => (await means.secret(credential ?? '')).trim(), reject: () => false };
  }
  let made: Promise<string> | undefined;
  return {
    read: () => {
      made ??= makeCredential(credentialCommand, means.env).catch((error: unknown) => {
        made = undefined;
        throw error;
      });
      return made;
    },
    reject: () => {
      made = undefined;
      return true;
    },
  };
}

/** What the command prints, without the name that `scontrol token` puts before it. */
function makeCredential(argv: readonly string[], env: Readonly<Record<string, string>>): Promise<string> {
  const [file = '', ...args] = argv;
  return new Promise((resolve, reject) => {
    execFile(file, args, { env: { ...env }, timeout: HPC_LIMITS.callMs }, (error, stdout, stderr) => {
      const text = stdout.trim().replace(/^[A-Z_]+=/, '');
      if (error || text === '') {
        const why = stderr.trim() || error?.message || 'it printed nothing';
        reject(new HpcError('credentials', `credentialCommand ${file}: ${why}`, { cause: error }));
      } else resolve(text);
    });
  });
}
