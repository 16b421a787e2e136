import { createCipheriv, createDecipheriv, createHash } from 'node:crypto';
import { secretKey } from '../../shared/secrets.js';

const ALGORITHM = 'aes-256-gcm';
export const KEY_BYTES = 32;
export const NONCE_BYTES = 12;
const TAG_BYTES = 16;
const KEY_ID_CHARS = 16;

/** A key with its name, which is a digest of it and says nothing about it. */
export interface SealingKey {
  readonly id: string;
  readonly bytes: Buffer;
}

/** A value as it lies on disk; base64. */
export interface Sealed {
  /** Of the key that opens it. */
  readonly keyId: string;
  readonly nonce: string;
  /** Ciphertext, then the tag. */
  readonly sealed: string;
}

export interface Owner {
  readonly namespace: string;
  readonly name: string;
}

export function sealingKey(bytes: Buffer): SealingKey {
  const digest = createHash('sha256').update('berth secret key\0').update(bytes).digest('hex');
  return { id: digest.slice(0, KEY_ID_CHARS), bytes };
}

/** Encrypts a value for one owner: put under another name, it does not open. `nonce` is never used twice with a key. */
export function seal(key: SealingKey, value: Uint8Array, { owner, nonce }: { owner: Owner; nonce: Buffer }): Sealed {
  const cipher = createCipheriv(ALGORITHM, key.bytes, nonce, { authTagLength: TAG_BYTES }).setAAD(boundTo(owner));
  const sealed = Buffer.concat([cipher.update(value), cipher.final(), cipher.getAuthTag()]);
  return { keyId: key.id, nonce: nonce.toString('base64'), sealed: sealed.toString('base64') };
}

/** Throws when the key, the owner, or a bit of what was sealed is another. */
export function unseal(key: SealingKey, { nonce, sealed }: Sealed, owner: Owner): Buffer {
  const bytes = Buffer.from(sealed, 'base64');
  const tag = bytes.subarray(-TAG_BYTES);
  const decipher = createDecipheriv(ALGORITHM, key.bytes, Buffer.from(nonce, 'base64'), { authTagLength: TAG_BYTES });
  decipher.setAAD(boundTo(owner)).setAuthTag(tag);
  return Buffer.concat([decipher.update(bytes.subarray(0, -TAG_BYTES)), decipher.final()]);
}

function boundTo({ namespace, name }: Owner): Buffer {
  return Buffer.from(`berth secret 1\0${secretKey(namespace, name)}`);
}
