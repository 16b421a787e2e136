import { constants, realpathSync } from 'node:fs';
import { open } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { sha256OfUrl } from '../../shared/artifact.js';
import { AppError } from '../../shared/errors.js';
import type { InputOrder } from '../../shared/wire/messages.js';
import type { ArtifactClient } from './artifact-client.js';
import { get, HttpSource } from './http-source.js';
import type { S3Access } from './s3.js';
import type { Source } from './transfer.js';
import { placeOf } from './workspace.js';

/** From where this node may take inputs. */
export interface SourcePolicy {
  /** Folders below which `file://` inputs may lie. */
  readonly inputRoots: readonly string[];
  readonly artifacts: ArtifactClient;
  /** Null when the operator has given no access. */
  readonly s3: S3Access | null;
}

const MAX_HTTP_TRIES = 6;
const HTTP_REMEDIES = { 401: 'it wants credentials', 403: 'it forbids this', 404: 'is the address right?' };

/** Throws `task-start-failed` for a source that this node does not permit. */
export function sourceOf({ source }: InputOrder, policy: SourcePolicy): Source {
  switch (source.kind) {
    case 'content':
      return whole(async () => [Buffer.from(source.content)]);
    case 'fault':
      throw new AppError('task-start-failed', source.message);
    case 'url':
      return urlSource(source.url, policy);
  }
}

function urlSource(url: string, policy: SourcePolicy): Source {
  const sha256 = sha256OfUrl(url);
  if (sha256 !== undefined) return policy.artifacts.source(sha256);
  if (url.startsWith('file:')) return whole(() => readPermitted(fileURLToPath(url), policy.inputRoots));
  if (url.startsWith('s3:')) {
    if (policy.s3) return policy.s3.source(url);
    throw refused('this node has no access to S3', 'its operator sets --s3-credentials');
  }
  return new HttpSource({
    maxTries: MAX_HTTP_TRIES,
    ask: (headers, signal) => get(url, headers, signal),
    remedies: HTTP_REMEDIES,
  });
}

/** What is here at once and cannot break off. */
function whole(read: () => Promise<AsyncIterable<Uint8Array> | Iterable<Uint8Array>>): Source {
  return { maxTries: 1, open: async () => ({ startsAt: 0, content: toAsync(await read()) }) };
}

async function* toAsync(pieces: AsyncIterable<Uint8Array> | Iterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  yield* pieces;
}

/** The file when it lies below one of the roots, wherever links lead; asked after it was opened. */
async function readPermitted(path: string, roots: readonly string[]): Promise<AsyncIterable<Uint8Array>> {
  const file = await open(path, constants.O_RDONLY | constants.O_NONBLOCK).catch((cause: unknown) => {
    throw refused((cause as Error).message, 'is the path right on this node?');
  });
  const place = placeOf(file);
  if (!roots.some((root) => isBelow(place, root))) {
    await file.close();
    const permitted = roots.length === 0 ? 'none' : roots.join(', ');
    throw refused(`${place} is in none of the folders from which this node takes inputs (${permitted})`, REMEDY);
  }
  if (!(await file.stat()).isFile()) {
    await file.close();
    throw refused(`${place} is not a plain file`, 'name a file; for a folder use a volume');
  }
  return file.createReadStream();
}

const REMEDY = "its operator sets --input-root, or use one of the node's volumes";

function isBelow(place: string, root: string): boolean {
  try {
    return place.startsWith(`${realpathSync(root).replace(/\/$/, '')}/`);
  } catch {
    return false;
  }
}

function refused(what: string, remedy: string): AppError {
  return new AppError('task-start-failed', `${what}; ${remedy}`);
}
