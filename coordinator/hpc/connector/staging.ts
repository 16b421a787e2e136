import { join } from 'node:path';
import { AppError } from '../../../shared/errors.js';
import { globMatches, hasWildcard } from '../../../shared/glob.js';
import { INPUT_MODE, type InputSpec, type OutputSpec } from '../../../shared/job-spec/staging-spec.js';
import { eachIndex } from '../../../shared/ranges.js';
import type { SecretGrant } from '../../../shared/wire/messages.js';
import type { RemoteFiles } from '../backend.js';
import { localPath } from '../plan-job.js';
import { writeSecrets } from '../secret-files.js';
import { INPUTS_FOLDER, SCRIPT_FILE, type Submission, WORKSPACES_FOLDER } from '../submission.js';
import { indexesOf } from '../witnesses.js';
import type { LoadedJob } from './load-job.js';
import { download, upload } from './transfer.js';

const SCRIPT_MODE = 0o700;

/** Inputs that the connector cannot bring are named before anything is done. */
export function checkUploads(uploads: readonly InputSpec[]): void {
  for (const input of uploads) {
    if (input.source.kind === 'content' || localPath(input) !== undefined) continue;
    const given = input.source.kind === 'url' ? input.source.url : 'the output of a step';
    throw new AppError('unsupported-field', `inputs: ${given} cannot be fetched here; use file:/// or "content"`);
  }
}

/** Makes the work directory: inputs, then the script, which appears whole. May be repeated after any failure. */
export async function stageIn(
  files: RemoteFiles,
  { submission, uploads, grants }: Pick<LoadedJob, 'submission' | 'uploads'> & { grants: readonly SecretGrant[] },
  signal: AbortSignal,
): Promise<void> {
  const { work, script } = submission;
  for (const input of uploads) {
    const to = `${inputFolder(submission)}/${input.to}`;
    const mode = input.mode ?? INPUT_MODE;
    const path = localPath(input);
    if (path !== undefined) await upload(files, { path, sha256: input.sha256, mode }, to, signal);
    else if (input.source.kind === 'content') {
      await files.write(to, Buffer.from(input.source.content), { offset: 0, mode }, signal);
    }
  }
  await writeSecrets(files, submission, grants, signal);
  await files.write(`${work}/${SCRIPT_FILE}.new`, Buffer.from(script), { offset: 0, mode: SCRIPT_MODE }, signal);
  await files.move(`${work}/${SCRIPT_FILE}.new`, `${work}/${SCRIPT_FILE}`, signal);
}

/** Of a job that is no array, the one workspace itself. */
function inputFolder({ work, options }: Submission): string {
  return `${work}/${options.array === undefined ? `${WORKSPACES_FOLDER}/0` : INPUTS_FOLDER}`;
}

/**
 * Fetches what the tasks left, into a folder for each task of an array.
 *
 * @returns outputs that were required and are not there
 */
export async function stageOut(
  files: RemoteFiles,
  { submission, outputs }: LoadedJob,
  { folder, signal }: { readonly folder: string; readonly signal: AbortSignal },
): Promise<readonly string[]> {
  const missing: string[] = [];
  if (outputs.length === 0) return missing;
  for (const index of eachIndex(indexesOf(submission))) {
    const workspace = `${submission.work}/${WORKSPACES_FOLDER}/${index}`;
    const into = submission.options.array === undefined ? folder : join(folder, String(index));
    const names = await files.list(workspace, signal);
    for (const output of outputs) {
      const found = names.filter((name) => globMatches(output.path, name));
      if (found.length === 0 && output.required) missing.push(`${output.path} of task ${index}`);
      for (const name of found)
        await download(files, `${workspace}/${name}`, join(into, keptName(output, name)), signal);
    }
  }
  return missing;
}

function keptName({ path, as }: OutputSpec, name: string): string {
  if (as === undefined) return name;
  return hasWildcard(path) || name !== path ? `${as}/${name}` : as;
}
