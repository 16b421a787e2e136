import { closeSync, openSync, statSync, unlinkSync } from 'node:fs';
import { connect, createServer, type Server } from 'node:net';
import { join } from 'node:path';
import { AppError } from '../../shared/errors.js';

const LOCK_NAME = 'lock';
const MAX_TRIES = 5;

/**
 * Keeps a second process out of a directory. A listening Unix socket is the lock: the kernel drops it with its process,
 * however that ends, and it is seen by every process that sees the directory.
 */
export class DirectoryLock {
  readonly #server: Server;
  readonly #folder: number;

  private constructor(server: Server, folder: number) {
    this.#server = server;
    this.#folder = folder;
  }

  /** Throws `state-dir-busy`. */
  static async acquire(directory: string): Promise<DirectoryLock> {
    const folder = openSync(directory, 'r');
    // A socket's path has 107 bytes at most; this one is always short.
    const path = `/proc/self/fd/${folder}/${LOCK_NAME}`;
    for (let tries = 0; tries < MAX_TRIES; tries += 1) {
      const server = await listen(path);
      if (server && (await isStillOurs(join(directory, LOCK_NAME), path))) return new DirectoryLock(server, folder);
      server?.close();
      if (!server && (await isAnswered(path))) break;
      if (!server) removeStale(path);
    }
    closeSync(folder);
    throw new AppError('state-dir-busy', `another agent uses ${directory}`, {
      hint: 'stop the other agent, or give this one a --state-dir of its own',
    });
  }

  async release(): Promise<void> {
    await new Promise<void>((resolve) => this.#server.close(() => resolve()));
    closeSync(this.#folder);
  }
}

function listen(path: string): Promise<Server | undefined> {
  return new Promise((resolve) => {
    const server = createServer((socket) => socket.destroy());
    server.once('error', () => resolve(undefined));
    server.listen(path, () => resolve(server.unref()));
  });
}

/** False when another process took our socket for a stale one at the same moment. */
async function isStillOurs(path: string, socketPath: string): Promise<boolean> {
  const ours = statSync(path, { throwIfNoEntry: false })?.ino;
  const isReached = await isAnswered(socketPath);
  return isReached && ours !== undefined && statSync(path, { throwIfNoEntry: false })?.ino === ours;
}

function isAnswered(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(path);
    socket.once('connect', () => {
      socket.destroy();
      resolve(true);
    });
    socket.once('error', () => resolve(false));
  });
}

function removeStale(path: string): void {
  try {
    unlinkSync(path);
  } catch {
    // Another process was faster; the next try finds its socket.
  }
}
