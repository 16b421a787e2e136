import { closeSync, openSync, readSync, statSync } from 'node:fs';

const NOTHING = new Uint8Array(0);

/** Bytes of the file from `offset`, at most `maxBytes`; empty at its end, and where there is no file. */
export function bytesFrom(path: string, offset: number, maxBytes: number): Uint8Array {
  const size = sizeOf(path);
  if (size <= offset) return NOTHING;
  const file = openSync(path, 'r');
  try {
    const bytes = new Uint8Array(Math.min(maxBytes, size - offset));
    return bytes.subarray(0, readSync(file, bytes, 0, bytes.length, offset));
  } finally {
    closeSync(file);
  }
}

/** 0 where there is no file. */
export function sizeOf(path: string): number {
  return statSync(path, { throwIfNoEntry: false })?.size ?? 0;
}
