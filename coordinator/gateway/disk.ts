import { constants } from 'node:fs';
import { type FileHandle, mkdir, open, rename } from 'node:fs/promises';
import { dirname } from 'node:path';

export const PRIVATE_FILE = 0o600;
export const PRIVATE_DIRECTORY = 0o700;

/** The system's word for an error, like ENOENT. */
export function codeOf(error: unknown): unknown {
  return error instanceof Error && 'code' in error ? error.code : undefined;
}

/** The value, or undefined when the file does not exist. */
export async function ifPresent<T>(attempt: () => Promise<T>): Promise<T | undefined> {
  try {
    return await attempt();
  } catch (error) {
    if (codeOf(error) === 'ENOENT') return undefined;
    throw error;
  }
}

/** Opens a file to write into at any position, making it and its folder when they are missing. */
export async function openForWriting(path: string): Promise<FileHandle> {
  const flags = constants.O_WRONLY | constants.O_CREAT;
  const file = await ifPresent(() => open(path, flags, PRIVATE_FILE));
  if (file !== undefined) return file;
  const folder = dirname(path);
  const firstMade = await mkdir(folder, { recursive: true, mode: PRIVATE_DIRECTORY });
  const parents = firstMade === undefined ? [] : [dirname(firstMade), dirname(folder)];
  for (const parent of new Set(parents)) await flushFolder(parent);
  return open(path, flags, PRIVATE_FILE);
}

/** Makes the names in a folder survive the loss of power. */
export async function flushFolder(path: string): Promise<void> {
  const folder = await open(path);
  try {
    await folder.sync();
  } finally {
    await folder.close();
  }
}

/** Puts a small file in place, whole or not at all; its name is not flushed. */
export async function replaceFile(path: string, content: string): Promise<void> {
  const draft = `${path}.draft`;
  const file = await open(draft, 'w', PRIVATE_FILE);
  try {
    await file.writeFile(content);
    await file.sync();
  } finally {
    await file.close();
  }
  await rename(draft, path);
}

/** Writes all the bytes at the position; a full disk may have taken a part of them when this throws. */
export async function writeAll(file: FileHandle, bytes: Uint8Array, position: number): Promise<void> {
  for (let written = 0; written < bytes.length; ) {
    const { bytesWritten } = await file.write(bytes, written, bytes.length - written, position + written);
    written += bytesWritten;
  }
}
