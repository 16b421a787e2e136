import { execFile } from 'node:child_process';
import { HpcError } from '../backend.js';
import { limited } from '../shell/remote-shell.js';
import type { HpcTarget } from '../target.js';
import type { BackendMeans, Credential } from './means.js';
import { oidcCredential } from './oidc.js';
import { type SharedCall, sharedCall } from './shared-call.js';

/** From an OpenID provider, from a secret, read anew each time, or from a command such as `scontrol token`. */
export function credentialOf({ credential, credentialCommand, oidc }: HpcTarget, means: BackendMeans): Credential {
  if (oidc !== null) return oidcCredential(oidc, means);
  if (credentialCommand === null) {
    return { read: async () => (await means.secret(credential ?? '')).trim(), reject: () => false };
  }
  let made: SharedCall<string> | undefined;
  return {
    read: async (signal) => {
      made ??= sharedCall((wanted) => makeCredential(credentialCommand, means.env, wanted));
      const asked = made;
      try {
        return await asked.wait(signal);
      } catch (error) {
        if (made === asked) made = undefined;
        throw error;
      }
    },
    reject: () => {
      made = undefined;
      return true;
    },
  };
}

/** What the command prints, without the name that `scontrol token` puts before it. */
function makeCredential(
  argv: readonly string[],
  env: Readonly<Record<string, string>>,
  signal: AbortSignal,
): Promise<string> {
  const [file = '', ...args] = argv;
  return new Promise((resolve, reject) => {
    execFile(file, args, { env: { ...env }, signal: limited(signal) }, (error, stdout, stderr) => {
      const text = stdout.trim().replace(/^[A-Z_]+=/, '');
      if (error || text === '') {
        const why = stderr.trim() || error?.message || 'it printed nothing';
        reject(new HpcError('credentials', `credentialCommand ${file}: ${why}`, { cause: error }));
      } else resolve(text);
    });
  });
}
