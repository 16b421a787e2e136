import { spawn } from 'node:child_process';
import { type FileHandle, mkdir, open, rename, rm } from 'node:fs/promises';
import { dirname } from 'node:path';
import { asHpcError, type FilePart, HpcError, type WriteOptions } from '../backend.js';
import { HPC_LIMITS } from '../remote-job.js';
import { limited, type RemoteShell, type ShellResult } from './remote-shell.js';

/**
 * The tools and files of this machine.
 *
 * @param env  the whole environment of the tools; jobs may inherit it
 */
export function localShell(env: Readonly<Record<string, string>>): RemoteShell {
  return {
    run: (script, signal) => runScript(script, env, limited(signal)),
    read: (path, part) => readPart(path, part),
    write: (path, bytes, options) => writePart(path, bytes, options),
    // Without a process for each: starting one holds the coordinator up for milliseconds.
    move: (from, to) => moveFile(from, to),
    remove: (path) => removeAll(path),
    close: async () => undefined,
  };
}

function runScript(script: string, env: Readonly<Record<string, string>>, signal: AbortSignal): Promise<ShellResult> {
  return new Promise((resolve, reject) => {
    // In a session of its own, so that a Ctrl-C at the terminal is no concern of a submission under way.
    const child = spawn('/bin/sh', ['-s'], { env: { ...env }, cwd: '/', stdio: 'pipe', signal, detached: true });
    const out: Buffer[] = [];
    const err: Buffer[] = [];
    let byteCount = 0;
    const keep = (chunks: Buffer[]) => (chunk: Buffer) => {
      byteCount += chunk.length;
      if (byteCount <= HPC_LIMITS.maxAnswerBytes) chunks.push(chunk);
      else child.kill('SIGKILL');
    };
    child.stdout.on('data', keep(out));
    child.stderr.on('data', keep(err));
    child.on('error', (error) => reject(asHpcError(error, 'running a command')));
    child.on('close', (code, killedBy) => {
      if (byteCount > HPC_LIMITS.maxAnswerBytes) reject(new HpcError('configuration', 'a command printed too much'));
      else if (code === null) reject(new HpcError('unavailable', `a command was ended by ${killedBy ?? 'a signal'}`));
      else resolve({ exitCode: code, stdout: Buffer.concat(out).toString(), stderr: Buffer.concat(err).toString() });
    });
    child.stdin.on('error', () => undefined);
    child.stdin.end(script);
  });
}

async function readPart(path: string, { offset, maxBytes }: FilePart): Promise<Uint8Array | null> {
  return using(path, 'r', async (file) => {
    const bytes = Buffer.alloc(Math.min(maxBytes, HPC_LIMITS.maxPieceBytes));
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
