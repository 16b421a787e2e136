import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Clock, EpochMs } from '../../shared/clock.js';
import { AppError } from '../../shared/errors.js';
import type { Log } from '../../shared/log.js';
import type { Random } from '../../shared/random.js';
import { SECRET_LIMITS, secretKey } from '../../shared/secrets.js';
import { flushFolder, ifPresent, replaceFile } from '../gateway/disk.js';
import { KeyRing, type KeySource } from './key-ring.js';
import { NONCE_BYTES, type Owner, type Sealed, type SealingKey, seal, unseal } from './sealing.js';

export interface SecretStoreOptions {
  readonly stateDir: string;
  readonly keys: KeySource;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
  /** SECRET_LIMITS.maxTotalBytes unless a test wants to see the end of it. */
  readonly maxTotalBytes?: number;
}

/** What is known of a secret besides its value. */
export interface SecretRecord extends Owner {
  readonly setAt: EpochMs;
  readonly setBy: string;
}

export interface NewSecret extends Owner {
  readonly value: Uint8Array;
  readonly by: string;
}

interface Entry extends SecretRecord, Sealed {}

interface SecretFile {
  readonly format: number;
  readonly secrets: readonly Entry[];
}

const FORMAT = 1;
const FILE_NAME = 'secrets.json';

/**
 * Secrets in a file of their own, each value sealed under a key that is not in it.
 *
 * Apart from the event log, so that the log, its snapshots and their copies hold none; in memory, too, values are sealed
 * until an order is made. Changes are on disk before they are true, one after the other.
 */
export class SecretStore {
  readonly #options: SecretStoreOptions;
  readonly #path: string;
  readonly #ring: KeyRing;
  readonly #keys: Set<string>;
  #entries: ReadonlyMap<string, Entry>;
  #last: Promise<unknown> = Promise.resolve();

  /**
   * Throws `store-corrupt` when a value does not open, `store-unavailable` when the file cannot be read, and what
   * `KeyRing.open` throws.
   */
  static async open(options: SecretStoreOptions): Promise<SecretStore> {
    const path = join(options.stateDir, FILE_NAME);
    const ring = await KeyRing.open(options.keys, options.random);
    const entries = await readEntries(path);
    const store = new SecretStore(options, ring, new Map(entries.map((entry) => [keyOf(entry), entry])));
    const unreadable = entries.filter((entry) => !store.#opens(entry)).map(keyOf);
    if (unreadable.length === 0) return store;
    throw new AppError(
      'store-corrupt',
      `${unreadable.length} secrets do not open with ${ring.place}: ${unreadable[0]}`,
      {
        hint: `put the key back that they were sealed with; or move ${path} away and set the secrets anew`,
      },
    );
  }

  private constructor(options: SecretStoreOptions, ring: KeyRing, entries: ReadonlyMap<string, Entry>) {
    this.#options = options;
    this.#path = join(options.stateDir, FILE_NAME);
    this.#ring = ring;
    this.#entries = entries;
    this.#keys = new Set(entries.keys());
  }

  /** Which secrets exist now; the set changes with them. */
  get secretKeys(): ReadonlySet<string> {
    return this.#keys;
  }

  list(): readonly SecretRecord[] {
    const entries = [...this.#entries].sort(([left], [right]) => (left < right ? -1 : 1));
    return entries.map(([, { namespace, name, setAt, setBy }]) => ({ namespace, name, setAt, setBy }));
  }

  /** Undefined when there is no such secret. */
  valueOf(namespace: string, name: string): Uint8Array | undefined {
    const entry = this.#entries.get(secretKey(namespace, name));
    const key = entry && this.#ring.get(entry.keyId);
    return entry && key && unseal(key, entry, entry);
  }

  /** Resolves when it is on disk. Errors: `conflict` beyond a limit, `store-unavailable`. */
  set({ namespace, name, value, by }: NewSecret): Promise<void> {
    return this.#change(async (entries) => {
      const key = await this.#ring.sealing();
      const owner = { namespace, name };
      const setAt = this.#options.clock.now();
      const made = { ...owner, setAt, setBy: by, ...this.#seal(key, value, owner) };
      entries.set(keyOf(owner), made);
      checkRoom(entries, this.#options.maxTotalBytes ?? SECRET_LIMITS.maxTotalBytes);
    });
  }

  /** False when there was none. */
  remove({ namespace, name }: Owner): Promise<boolean> {
    return this.#change(async (entries) => entries.delete(secretKey(namespace, name)));
  }

  /** Seals everything under a new key and forgets the old ones; returns how many secrets there are. */
  rotateKey(): Promise<number> {
    const rotated = this.#change(async (entries) => {
      const key = await this.#ring.renew();
      for (const [id, entry] of entries) {
        const opening = this.#ring.get(entry.keyId);
        if (opening) entries.set(id, { ...entry, ...this.#seal(key, unseal(opening, entry, entry), entry) });
      }
      return { key, count: entries.size };
    });
    return rotated.then(async ({ key, count }) => {
      await this.#ring.keepOnly(key);
      this.#options.log.info('secrets sealed under another key', { secretCount: count, keyId: key.id });
      return count;
    });
  }

  #seal(key: SealingKey, value: Uint8Array, { namespace, name }: Owner): Sealed {
    const nonce = Buffer.from(this.#options.random.token(NONCE_BYTES), 'hex');
    return seal(key, value, { owner: { namespace, name }, nonce });
  }

  #opens(entry: Entry): boolean {
    try {
      return this.valueOf(entry.namespace, entry.name) !== undefined;
    } catch {
      // Its key, or the file, is another.
      return false;
    }
  }

  #change<T>(decide: (entries: Map<string, Entry>) => Promise<T>): Promise<T> {
    const changed = this.#last.then(async () => {
      const entries = new Map(this.#entries);
      const answer = await kept(() => decide(entries));
      await kept(() => this.#write([...entries.values()]));
      this.#entries = entries;
      this.#keys.clear();
      for (const key of entries.keys()) this.#keys.add(key);
      return answer;
    });
    this.#last = changed.catch(() => {});
    return changed;
  }

  async #write(secrets: readonly Entry[]): Promise<void> {
    const file: SecretFile = { format: FORMAT, secrets };
    await replaceFile(this.#path, `${JSON.stringify(file)}\n`);
    await flushFolder(this.#options.stateDir);
  }
}

function keyOf({ namespace, name }: Owner): string {
  return secretKey(namespace, name);
}

function checkRoom(entries: ReadonlyMap<string, Entry>, maxTotalBytes: number): void {
  let bytes = 0;
  for (const { sealed } of entries.values()) bytes += sealed.length;
  if (entries.size <= SECRET_LIMITS.maxSecrets && bytes <= maxTotalBytes) return;
  throw new AppError('conflict', `there are ${entries.size - 1} secrets, which is all that is kept`, {
    hint: 'remove some with: berth secrets rm NAME',
  });
}

/** A disk that cannot be written is said as such; nothing has changed then. */
async function kept<T>(work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (cause) {
    if (cause instanceof AppError) throw cause;
    throw new AppError('store-unavailable', `secrets cannot be written: ${(cause as Error).message}`, { cause });
  }
}

async function readEntries(path: string): Promise<readonly Entry[]> {
  const text = await ifPresent(() => readFile(path, 'utf8')).catch((cause: unknown) => {
    throw new AppError('store-unavailable', `${path} cannot be read`, { cause });
  });
  if (text === undefined) return [];
  const file = parsed(text);
  if (file?.format === FORMAT && Array.isArray(file.secrets)) return file.secrets;
  throw new AppError('store-corrupt', `${path} is damaged, or of another version`, {
    hint: 'restore it from a copy; or move it away and set the secrets anew',
  });
}

function parsed(text: string): Partial<SecretFile> | null {
  try {
    return JSON.parse(text) as Partial<SecretFile> | null;
  } catch {
    // What is damaged is not shown: the caller says what to do.
    return null;
  }
}
