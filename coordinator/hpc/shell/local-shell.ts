import { type FileHandle, mkdir, open, rename, rm } from 'node:fs/promises';
import { dirname } from 'node:path';
import { type FilePart, HpcError, type WriteOptions } from '../backend.js';
import { HPC_LIMITS } from '../remote-job.js';
import { limited, type RemoteShell } from './remote-shell.js';
import { ScriptThread } from './script-thread.js';

/**
 * The tools and files of this machine.
 *
 * @param env  the whole environment of the tools; jobs may inherit it
 */
export function localShell(env: Readonly<Record<string, string>>): RemoteShell {
  const scripts = new ScriptThread(env);
  return {
    run: (script, signal) => scripts.run(script, limited(signal)),
    read: (path, part) => readPart(path, part),
    write: (path, bytes, options) => writePart(path, bytes, options),
    move: (from, to) => moveFile(from, to),
    remove: (path) => removeAll(path),
    close: () => scripts.close(),
  };
}

async function readPart(path: string, { offset, maxBytes }: FilePart): Promise<Uint8Array | null> {
  return using(path, 'r', async (file) => {
    // Most of what is read, again and again, is short: a whole piece for each would cost more than the reading.
    const left = Math.max(0, (await file.stat()).size - offset);
    const bytes = Buffer.alloc(Math.min(maxBytes, HPC_LIMITS.maxPieceBytes, left));
    const { bytesRead } = await file.read(bytes, 0, bytes.length, offset);
    return bytes.subarray(0, bytesRead);
  });
}

async function writePart(path: string, bytes: Uint8Array, { offset, mode }: WriteOptions): Promise<void> {
  try {
    await mkdir(dirname(path), { recursive: true });
    const file = await open(path, offset === 0 ? 'w' : 'r+', mode);
    try {
      await file.write(bytes, 0, bytes.length, offset);
      if (offset === 0) await file.chmod(mode);
    } finally {
      await file.close();
    }
  } catch (error) {
    throw fileError(error, `writing ${path}`);
  }
}

async function moveFile(from: string, to: string): Promise<void> {
  try {
    await mkdir(dirname(to), { recursive: true });
    await rename(from, to);
  } catch (error) {
    throw fileError(error, `moving ${from}`);
  }
}

async function removeAll(path: string): Promise<void> {
  try {
    await rm(path, { recursive: true, force: true });
  } catch (error) {
    throw fileError(error, `removing ${path}`);
  }
}

async function using<Value>(
  path: string,
  flags: string,
  act: (file: FileHandle) => Promise<Value>,
): Promise<Value | null> {
  try {
    const file = await open(path, flags);
    try {
      return await act(file);
    } finally {
      await file.close();
    }
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return null;
    throw fileError(error, `reading ${path}`);
  }
}

const FORBIDDEN = new Set(['EACCES', 'EPERM', 'EROFS', 'ENOTDIR', 'EISDIR']);

function fileError(error: unknown, doing: string): HpcError {
  const { code, message } = error as NodeJS.ErrnoException;
  return new HpcError(FORBIDDEN.has(code ?? '') ? 'configuration' : 'unavailable', `${doing}: ${message}`, {
    cause: error,
  });
}
