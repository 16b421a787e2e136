import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { mkdir, open, rename, rm, stat } from 'node:fs/promises';
import { dirname } from 'node:path';
import { pipeline } from 'node:stream/promises';
import type { Artifact } from '../../shared/artifact.js';
import { AppError, isAppError } from '../../shared/errors.js';
import { piecesOf } from './client.js';
import type { Context } from './context.js';
import { untilAnswered } from './retry.js';

/** The file as the coordinator keeps it; what it has already is not sent again. */
export async function putFile(context: Context, path: string): Promise<Artifact> {
  const { sha256 } = await readable(path, () => digestOf(path));
  return untilAnswered(context, async () => {
    const isThere = await context.api.open({ method: 'HEAD', path: `/artifacts/${sha256}` }).then(
      (answer) => answer.resume(),
      (error: unknown) => {
        if (!isAppError(error, 'not-found')) throw error;
      },
    );
    if (isThere) return { sha256, sizeBytes: Number(isThere.headers['content-length']) };
    return context.api.document<Artifact>({
      method: 'PUT',
      path: `/artifacts/${sha256}`,
      content: createReadStream(path),
    });
  });
}

/** Standard input can be read once only, so it is sent once. */
export function putInput(context: Context): Promise<Artifact> {
  return context.api.document<Artifact>({ method: 'POST', path: '/artifacts', content: context.input });
}

/**
 * Fetches an artifact into a file, which is whole or not there; its folders are made.
 *
 * A connection that breaks is taken up where it broke. Throws `digest-mismatch` when the bytes are not what they
 * should be.
 */
export async function getFile(context: Context, { sha256 }: Pick<Artifact, 'sha256'>, path: string): Promise<void> {
  const draft = `${path}.part`;
  await mkdir(dirname(path), { recursive: true });
  await rm(draft, { force: true });
  try {
    await untilAnswered(context, () => fetchRest(context, sha256, draft));
    const { sha256: actual } = await digestOf(draft);
    if (actual !== sha256) {
      throw new AppError('digest-mismatch', `what came for ${path} has the SHA-256 ${actual}, not ${sha256}`, {
        hint: 'fetch it again; if that fails too, the copy at the coordinator is damaged',
      });
    }
    await rename(draft, path);
  } finally {
    await rm(draft, { force: true });
  }
}

/** Writes an artifact to standard output, as fast as that takes it. */
export async function printArtifact(context: Context, { sha256 }: Pick<Artifact, 'sha256'>): Promise<void> {
  const answer = await untilAnswered(context, () => context.api.open({ method: 'GET', path: `/artifacts/${sha256}` }));
  await pipeline(piecesOf(answer), context.out.stream, { end: false });
}

async function fetchRest(context: Context, sha256: string, draft: string): Promise<void> {
  const file = await open(draft, 'a');
  try {
    const { size } = await file.stat();
    const range = size === 0 ? {} : { headers: { range: `bytes=${size}-` } };
    const answer = await context.api.open({ method: 'GET', path: `/artifacts/${sha256}`, ...range });
    if (size > 0 && answer.statusCode !== 206) await file.truncate(0);
    for await (const piece of piecesOf(answer)) await file.writeFile(piece);
  } finally {
    await file.close();
  }
}

async function digestOf(path: string): Promise<Artifact> {
  const hash = createHash('sha256');
  const { size } = await stat(path);
  for await (const piece of createReadStream(path)) hash.update(piece as Buffer);
  return { sha256: hash.digest('hex'), sizeBytes: size };
}

async function readable<T>(path: string, read: () => Promise<T>): Promise<T> {
  try {
    return await read();
  } catch (cause) {
    throw new AppError('invalid-request', `cannot read ${path}: ${(cause as Error).message}`, { cause });
  }
}
