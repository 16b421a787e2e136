import { open } from 'node:fs/promises';
import { dirname } from 'node:path';
import { AppError } from '../../shared/errors.js';
import type { Random } from '../../shared/random.js';
import { flushFolder, ifPresent, replaceFile } from '../gateway/disk.js';
import { KEY_BYTES, type SealingKey, sealingKey } from './sealing.js';

/** Where keys come from: text of the operator's, or a file that we keep. */
export type KeySource =
  | { readonly kind: 'given'; readonly text: string }
  | { readonly kind: 'file'; readonly path: string };

/**
 * The keys: the first seals, all of them open.
 *
 * While a file is rotated it holds the new key and the old one, so that whatever was sealed opens at any moment.
 */
export class KeyRing {
  readonly #source: KeySource;
  readonly #random: Random;
  #keys: readonly SealingKey[];

  /** Throws `invalid-request` for a key that is none, or a file that others may read. */
  static async open(source: KeySource, random: Random): Promise<KeyRing> {
    const text = source.kind === 'given' ? source.text : await readPrivate(source.path);
    return new KeyRing(source, random, text === undefined ? [] : parseKeys(text, nameOf(source)));
  }

  private constructor(source: KeySource, random: Random, keys: readonly SealingKey[]) {
    this.#source = source;
    this.#random = random;
    this.#keys = keys;
  }

  get(id: string): SealingKey | undefined {
    return this.#keys.find((key) => key.id === id);
  }

  /** The key that seals; made at its first use. */
  async sealing(): Promise<SealingKey> {
    const [first] = this.#keys;
    if (first !== undefined) return first;
    const made = this.#newKey();
    await this.#keep([made]);
    return made;
  }

  /** A new key that seals from now on. The operator's own keys are theirs to replace: then it is the first of them. */
  async renew(): Promise<SealingKey> {
    if (this.#source.kind === 'given') return this.sealing();
    const made = this.#newKey();
    await this.#keep([made, ...this.#keys]);
    return made;
  }

  /** Nothing is sealed with the others any more. */
  async keepOnly(key: SealingKey): Promise<void> {
    if (this.#source.kind === 'file') await this.#keep([key]);
  }

  /** How a person finds the keys. */
  get place(): string {
    return nameOf(this.#source);
  }

  #newKey(): SealingKey {
    return sealingKey(Buffer.from(this.#random.token(KEY_BYTES), 'hex'));
  }

  async #keep(keys: readonly SealingKey[]): Promise<void> {
    if (this.#source.kind === 'file') {
      const { path } = this.#source;
      await replaceFile(path, keys.map(({ bytes }) => `${bytes.toString('hex')}\n`).join(''));
      await flushFolder(dirname(path));
    }
    this.#keys = keys;
  }
}

const OTHERS = 0o077;

/** The file's text, undefined when there is none. Whoever may read it may read every secret, so only its owner may. */
async function readPrivate(path: string): Promise<string | undefined> {
  const file = await ifPresent(() => open(path));
  if (file === undefined) return undefined;
  try {
    const { mode, uid } = await file.stat();
    const own = process.geteuid?.() ?? uid;
    if (uid !== own || (mode & OTHERS) !== 0) {
      const what =
        uid === own ? `may be read by others (mode ${(mode & 0o777).toString(8)})` : `belongs to user ${uid}`;
      throw new AppError('invalid-request', `the key file ${path} ${what}`, {
        hint: `make it private: chown ${own} ${path} && chmod 600 ${path}; if others may have read it, rotate the key`,
      });
    }
    return await file.readFile('utf8');
  } finally {
    await file.close();
  }
}

const HEX = /^[0-9a-fA-F]+$/;

/** Keys of 32 bytes in hex or base64, divided by commas or white space. */
function parseKeys(text: string, place: string): SealingKey[] {
  const keys = text
    .split(/[\s,]+/)
    .filter((word) => word !== '')
    .map((word) => Buffer.from(word, HEX.test(word) ? 'hex' : 'base64'));
  if (keys.length > 0 && keys.every(({ length }) => length === KEY_BYTES)) return keys.map(sealingKey);
  throw new AppError('invalid-request', `${place} holds no key of ${KEY_BYTES} bytes`, {
    hint: 'make one with: openssl rand -hex 32',
  });
}

function nameOf(source: KeySource): string {
  return source.kind === 'file' ? source.path : 'BERTH_COORDINATOR_SECRETS_KEY';
}
