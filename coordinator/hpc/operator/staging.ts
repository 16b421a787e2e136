import { type StoredOutput, sha256OfUrl } from '../../../shared/artifact.js';
import { globMatches, hasWildcard } from '../../../shared/glob.js';
import { INPUT_MODE, type OutputSpec, STAGING_LIMITS } from '../../../shared/job-spec/staging-spec.js';
import type { StagingRecord } from '../../../shared/wire/messages.js';
import type { ArtifactStore } from '../../artifacts/artifact-store.js';
import { HpcError, type RemoteFiles } from '../backend.js';
import { HPC_LIMITS } from '../remote-job.js';
import { writeSecrets } from '../secret-files.js';
import { INPUTS_FOLDER, SCRIPT_FILE, WORKSPACES_FOLDER } from '../submission.js';
import type { RemoteWork } from './remote-work.js';

const SCRIPT_MODE = 0o700;

/** What goes between an artifact store and the files of a site. */
export interface Carrier {
  readonly files: RemoteFiles;
  readonly artifacts: ArtifactStore;
}

/**
 * Makes the work directory: inputs, then the script, which appears whole. May be repeated after any failure; a file
 * that is there and right is not sent again.
 */
export async function stageIn(
  { files, artifacts }: Carrier,
  { submission, inputs, secrets }: Pick<RemoteWork, 'submission' | 'inputs' | 'secrets'>,
  signal: AbortSignal,
): Promise<void> {
  const { work, script, options } = submission;
  const folder = options.array === undefined ? `${WORKSPACES_FOLDER}/0` : INPUTS_FOLDER;
  for (const input of inputs) {
    const to = `${work}/${folder}/${input.to}`;
    const mode = input.mode ?? INPUT_MODE;
    const { source } = input;
    if (source.kind === 'fault') throw new HpcError('refused', source.message);
    if (source.kind === 'content') await files.write(to, Buffer.from(source.content), { offset: 0, mode }, signal);
    const sha256 = source.kind === 'url' ? sha256OfUrl(source.url) : undefined;
    if (sha256 !== undefined) await sendArtifact({ files, artifacts }, { sha256, to, mode }, signal);
  }
  await writeSecrets(files, submission, secrets(), signal);
  await files.write(`${work}/${SCRIPT_FILE}.new`, Buffer.from(script), { offset: 0, mode: SCRIPT_MODE }, signal);
  await files.move(`${work}/${SCRIPT_FILE}.new`, `${work}/${SCRIPT_FILE}`, signal);
}

async function sendArtifact(
  { files, artifacts }: Carrier,
  { sha256, to, mode }: { readonly sha256: string; readonly to: string; readonly mode: number },
  signal: AbortSignal,
): Promise<void> {
  if ((await files.digest(to, signal))?.sha256 === sha256) return;
  const found = await artifacts.find(sha256);
  if (!found) throw new HpcError('refused', `the artifact ${sha256} is not there any more`);
  let offset = 0;
  if (found.sizeBytes === 0) await files.write(to, new Uint8Array(0), { offset, mode }, signal);
  for await (const piece of artifacts.read(sha256, { from: 0, to: found.sizeBytes })) {
    await files.write(to, piece, { offset, mode }, signal);
    offset += piece.length;
  }
  if ((await files.digest(to, signal))?.sha256 === sha256) return;
  throw new HpcError('unavailable', `${to} is not what was sent: its checksum differs`);
}

export interface Fetched {
  readonly record: StagingRecord;
  /** Required outputs that are not there. */
  readonly missing: readonly string[];
}

/** Keeps what a task left, by the checksum that it has over there. Undefined when nothing was to be kept. */
export async function stageOut(
  { files, artifacts }: Carrier,
  { workspace, outputs }: { readonly workspace: string; readonly outputs: readonly OutputSpec[] },
  signal: AbortSignal,
): Promise<Fetched | undefined> {
  if (outputs.length === 0) return undefined;
  const names = await files.list(workspace, signal);
  const kept: StoredOutput[] = [];
  const missing: string[] = [];
  for (const output of outputs) {
    const found = names.filter((name) => globMatches(output.path, name));
    if (found.length === 0 && output.required) missing.push(output.path);
    for (const name of found.slice(0, STAGING_LIMITS.maxOutputFiles - kept.length)) {
      const stored = await keep({ files, artifacts }, `${workspace}/${name}`, signal);
      kept.push({ ...stored, path: keptName(output, name) });
    }
  }
  const isFull = kept.length === STAGING_LIMITS.maxOutputFiles;
  const note = `at most ${STAGING_LIMITS.maxOutputFiles} files are kept; archive them`;
  return { record: { inputs: [], outputs: kept, ...(isFull ? { note } : {}) }, missing };
}

async function keep({ files, artifacts }: Carrier, path: string, signal: AbortSignal) {
  const wanted = await files.digest(path, signal);
  if (wanted === null) throw new HpcError('unavailable', `${path} has gone while it was fetched`);
  return artifacts.put(contentOf(files, path, signal), wanted.sha256);
}

async function* contentOf(files: RemoteFiles, path: string, signal: AbortSignal): AsyncGenerator<Uint8Array> {
  for (let offset = 0; ; ) {
    const piece = await files.read(path, { offset, maxBytes: HPC_LIMITS.maxPieceBytes }, signal);
    if (piece === null || piece.length === 0) return;
    yield piece;
    offset += piece.length;
  }
}

function keptName({ path, as }: OutputSpec, name: string): string {
  if (as === undefined) return name;
  return hasWildcard(path) || name !== path ? `${as}/${name}` : as;
}
