import { execFile } from 'node:child_process';
import { HpcError } from '../backend.js';
import { HPC_LIMITS } from '../remote-job.js';
import type { HpcTarget } from '../target.js';
import type { BackendMeans } from './means.js';

/** The token or certificate of a target, as it is now. */
export interface Credential {
  read(): Promise<string>;
  /** It was not taken: what a command once printed is forgotten. True when another one can be had by that. */
  reject(): boolean;
}

/** From a secret, read anew each time, or from a command that makes one, such as `scontrol token`. */
export function credentialOf({ credential, credentialCommand }: HpcTarget, means: BackendMeans): Credential {
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
