import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { mkdir, open, rename, stat } from 'node:fs/promises';
import { dirname } from 'node:path';
import { AppError } from '../../../shared/errors.js';
import { HpcError, type RemoteFiles } from '../backend.js';
import { HPC_LIMITS } from '../remote-job.js';

export interface LocalFile {
  readonly path: string;
  /** What it must be, if somebody said. */
  readonly sha256: string | undefined;
  readonly mode: number;
}

/**
 * Brings a file to the remote side. What is there already and right is not sent again; what is there in part is
 * continued, and begins anew when it turns out to be of something else.
 */
export async function upload(files: RemoteFiles, from: LocalFile, to: string, signal: AbortSignal): Promise<void> {
  const { byteCount, sha256 } = await localDigest(from.path);
  if (from.sha256 !== undefined && from.sha256 !== sha256) {
    throw new AppError('digest-mismatch', `${from.path} has the SHA-256 ${sha256}, and not ${from.sha256}`);
  }
  const there = await files.digest(to, signal);
  if (there?.sha256 === sha256) return;
  const begun = there !== null && there.byteCount < byteCount ? there.byteCount : 0;
  for (const offset of begun > 0 ? [begun, 0] : [0]) {
    await send(files, { ...from, to, offset }, signal);
    if ((await files.digest(to, signal))?.sha256 === sha256) return;
  }
  throw new HpcError('unavailable', `${to} is not what was sent: its checksum differs`);
}

interface Sending extends LocalFile {
  readonly to: string;
  readonly offset: number;
}

async function send(files: RemoteFiles, { path, to, offset, mode }: Sending, signal: AbortSignal): Promise<void> {
  const file = await open(path, 'r');
  try {
    const piece = Buffer.alloc(HPC_LIMITS.maxPieceBytes);
    for (let at = offset; ; ) {
      const { bytesRead } = await file.read(piece, 0, piece.length, at);
      if (bytesRead > 0 || at === 0) await files.write(to, piece.subarray(0, bytesRead), { offset: at, mode }, signal);
      if (bytesRead === 0) return;
      at += bytesRead;
    }
  } finally {
    await file.close();
  }
}

/** Fetches a file, under a name of its own until it is whole and right; what was fetched before is continued. */
export async function download(files: RemoteFiles, from: string, to: string, signal: AbortSignal): Promise<void> {
  const wanted = await files.digest(from, signal);
  if (wanted === null) throw new HpcError('unavailable', `${from} has gone while it was fetched`);
  await mkdir(dirname(to), { recursive: true });
  const part = `${to}.part`;
  const begun = await stat(part).then(
    ({ size }) => Math.min(size, wanted.byteCount),
    () => 0,
  );
  for (const offset of begun > 0 ? [begun, 0] : [0]) {
    await receive(files, { from, part, offset }, signal);
    if ((await localDigest(part)).sha256 === wanted.sha256) return rename(part, to);
  }
  throw new HpcError('unavailable', `${from} changed while it was fetched: its checksum differs`);
}

interface Receiving {
  readonly from: string;
  readonly part: string;
  readonly offset: number;
}

async function receive(files: RemoteFiles, { from, part, offset }: Receiving, signal: AbortSignal): Promise<void> {
  const file = await open(part, offset === 0 ? 'w' : 'r+');
  try {
    for (let at = offset; ; ) {
      const piece = await files.read(from, { offset: at, maxBytes: HPC_LIMITS.maxPieceBytes }, signal);
      if (piece === null || piece.length === 0) return;
      await file.write(piece, 0, piece.length, at);
      at += piece.length;
    }
  } finally {
    await file.close();
  }
}

async function localDigest(path: string): Promise<{ readonly byteCount: number; readonly sha256: string }> {
  const hash = createHash('sha256');
  let byteCount = 0;
  try {
    for await (const chunk of createReadStream(path)) {
      hash.update(chunk as Buffer);
      byteCount += (chunk as Buffer).length;
    }
  } catch (error) {
    throw new AppError('invalid-request', `cannot read ${path}: ${(error as Error).message}`, { cause: error });
  }
  return { byteCount, sha256: hash.digest('hex') };
}
