import { createHash } from 'node:crypto';
import {
  chmodSync,
  existsSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  rmdirSync,
  rmSync,
  statfsSync,
  writeFileSync,
} from 'node:fs';
import { dirname, join } from 'node:path';
import { AppError } from '../../shared/errors.js';
import type { AllocationId } from '../../shared/ids.js';
import { exportLine } from '../../shared/secrets.js';
import type { SecretGrant, StartOrder } from '../../shared/wire/messages.js';

/** File systems that are in memory alone, by the magic number that statfs(2) has for them: tmpfs and ramfs. */
const IN_MEMORY: ReadonlySet<number> = new Set([0x01021994, 0x858458f6]);
const PRIVATE = 0o700;
const OTHERS = 0o077;

interface Modes {
  readonly folder: number;
  readonly file: number;
}

/** A mount leaves out the folders above, which are closed to all others in any case. */
const MODES = { path: { folder: 0o700, file: 0o400 }, mount: { folder: 0o755, file: 0o444 } } as const;

/** Where an attempt finds its secrets; null for what it has none of. */
export interface SecretPlaces {
  /** The value of BERTH_SECRETS_DIR. */
  readonly directory: string | null;
  /** Shell text that exports variables; in no program's arguments, which every user sees. */
  readonly envFile: string | null;
}

const NOWHERE: SecretPlaces = { directory: null, envFile: null };

/**
 * The folder in memory where a driver's attempts have their secrets, from their start to their end: never on a disk, and
 * gone with the power. It is made when it is needed, since others may clear such places.
 */
export class SecretFolder {
  readonly #root: string;
  readonly #modes: Modes;

  /** `mount`: tasks see them by mounts of their own, which any user of theirs may read. */
  constructor(root: string, reach: 'path' | 'mount' = 'path') {
    this.#root = root;
    this.#modes = MODES[reach];
  }

  /** Puts the order's secrets in place. Throws `task-start-failed`, and then leaves none. */
  write(order: StartOrder): SecretPlaces {
    const { allocationId, secrets = [] } = order;
    if (secrets.length === 0) return NOWHERE;
    try {
      openFolder(this.#root);
      return this.#write(allocationId, secrets);
    } catch (cause) {
      rmSync(join(this.#root, allocationId), { recursive: true, force: true });
      throw new AppError('task-start-failed', `secrets could not be put in place: ${(cause as Error).message}`, {
        cause,
      });
    }
  }

  /** Idempotent. The last one takes the folder with it. */
  remove(allocationId: AllocationId): void {
    if (!existsSync(this.#root)) return;
    rmSync(join(this.#root, allocationId), { recursive: true, force: true });
    if (removeIfEmpty(this.#root)) removeIfEmpty(dirname(this.#root));
  }

  /** Removes what an earlier process left of attempts that have ended. */
  keepOnly(running: ReadonlySet<AllocationId>): void {
    if (!existsSync(this.#root)) return;
    for (const name of readdirSync(this.#root))
      if (!running.has(name as AllocationId)) this.remove(name as AllocationId);
  }

  #write(allocationId: AllocationId, secrets: readonly SecretGrant[]): SecretPlaces {
    const own = join(this.#root, allocationId);
    const directory = join(own, 'files');
    const envFile = join(own, 'env.sh');
    rmSync(own, { recursive: true, force: true });
    mkdirSync(own, { mode: PRIVATE });
    mkdirSync(directory);
    chmodSync(directory, this.#modes.folder);
    const files = secrets.filter(({ file }) => file !== undefined);
    const variables = secrets.filter(({ env }) => env !== undefined);
    for (const { file = '', value } of files) this.#writeFile(join(directory, file), value ?? '');
    if (variables.length > 0)
      this.#writeFile(envFile, Buffer.concat(variables.map(({ env = '', value }) => exportLine(env, value))));
    return {
      directory: files.length > 0 ? directory : null,
      envFile: variables.length > 0 ? envFile : null,
    };
  }

  #writeFile(path: string, bytes: Uint8Array | string): void {
    const mode = this.#modes.file;
    writeFileSync(path, bytes, { mode, flag: 'wx' });
    // Whatever the umask says.
    chmodSync(path, mode);
  }
}

/** The secret that no variable can hold as it is asked to; undefined when there is none. */
export function secretComplaint({ secrets = [] }: StartOrder): string | undefined {
  const secret = secrets.find(({ env, value }) => env !== undefined && value?.includes(0));
  return secret && `the secret "${secret.name}" has a NUL byte, so it can only be a file`;
}

/** The order's secrets in place. Throws `task-start-failed` where there is no folder for them. */
export function secretsIn(folder: SecretFolder | undefined, order: StartOrder): SecretPlaces {
  if (folder) return folder.write(order);
  if (order.secrets) throw new AppError('task-start-failed', 'this node has no place in memory for secrets');
  return NOWHERE;
}

/** Only root may make a folder in the first; ordinary users have the second. */
const MEMORY_PLACES = ['/run', '/dev/shm'];
const DIGEST_CHARS = 12;

/**
 * The folder for all secrets of one agent: the one that the operator names, or one of its own in memory.
 *
 * @returns  undefined when no place here is in memory alone
 * Throws `invalid-request` when the named one cannot be used.
 */
export function findSecretsRoot(named: string | null, stateDir: string): string | undefined {
  const own = `berth-${createHash('sha256').update(stateDir).digest('hex').slice(0, DIGEST_CHARS)}`;
  for (const path of named === null ? MEMORY_PLACES.map((place) => join(place, own)) : [named]) {
    try {
      openFolder(path);
      removeIfEmpty(path);
      return path;
    } catch (cause) {
      if (named === null) continue;
      throw new AppError('invalid-request', `--secrets-dir: ${(cause as Error).message}`, { cause });
    }
  }
  return undefined;
}

/** Makes the folder, or checks that it is ours alone. Throws, saying what is wrong with it. */
function openFolder(path: string): void {
  if (!isInMemory(nearestOf(path))) throw new Error(`${path} is on a disk; name a folder of a tmpfs`);
  mkdirSync(path, { recursive: true, mode: PRIVATE });
  const found = lstatSync(path);
  const { uid, mode } = found;
  if (!found.isDirectory()) throw new Error(`${path} is no folder`);
  if (uid !== process.geteuid?.()) throw new Error(`${path} belongs to user ${uid}`);
  if ((mode & OTHERS) !== 0) chmodSync(path, PRIVATE);
}

function removeIfEmpty(path: string): boolean {
  try {
    rmdirSync(path);
    return true;
  } catch {
    // Others are in it.
    return false;
  }
}

/** The path, or the nearest folder above it that exists. */
function nearestOf(path: string): string {
  return existsSync(path) ? path : nearestOf(dirname(path));
}

function isInMemory(path: string): boolean {
  return IN_MEMORY.has(statfsSync(path).type);
}
