import { exportLine } from '../../shared/secrets.js';
import type { SecretGrant } from '../../shared/wire/messages.js';
import { HpcError, type RemoteFiles } from './backend.js';
import { SECRETS_ENV_FILE, SECRETS_FILES_FOLDER, SECRETS_FOLDER, type Submission } from './submission.js';

const SECRET_MODE = 0o600;

/**
 * Puts the secrets of a job where its tasks find them: files that the account alone may read, in its work directory,
 * from before its submission to its end. They are in no script, argument, comment or log. May be repeated.
 */
export async function writeSecrets(
  files: RemoteFiles,
  { work }: Pick<Submission, 'work'>,
  secrets: readonly SecretGrant[],
  signal: AbortSignal,
): Promise<void> {
  const unfit = secrets.find(({ env, value }) => env !== undefined && value?.includes(0));
  if (unfit) throw new HpcError('refused', `the secret "${unfit.name}" has a NUL byte, so it can only be a file`);
  const write = (path: string, bytes: Uint8Array): Promise<void> =>
    files.write(`${work}/${path}`, bytes, { offset: 0, mode: SECRET_MODE }, signal);
  for (const { file, value } of secrets)
    if (file !== undefined) await write(`${SECRETS_FILES_FOLDER}/${file}`, value ?? new Uint8Array(0));
  const lines = secrets.flatMap(({ env, value }) => (env === undefined ? [] : [exportLine(env, value)]));
  if (lines.length > 0) await write(SECRETS_ENV_FILE, Buffer.concat(lines));
}

/** They go when no task can begin any more, whatever becomes of the work directory. Already gone is a success. */
export async function removeSecrets(
  files: RemoteFiles,
  { work }: Pick<Submission, 'work'>,
  signal: AbortSignal,
): Promise<void> {
  await files.remove(`${work}/${SECRETS_FOLDER}`, signal);
}
