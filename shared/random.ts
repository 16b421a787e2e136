import { randomBytes } from 'node:crypto';

/** The only source of chance. `next` is uniform in [0, 1). */
export interface Random {
  next(): number;
  /** An unguessable or, when seeded, reproducible token of `byteCount` bytes in hex. */
  token(byteCount: number): string;
}

export const systemRandom: Random = {
  next: () => Math.random(),
  token: (byteCount) => randomBytes(byteCount).toString('hex'),
};

/** A reproducible source: the same seed gives the same numbers. Source: mulberry32 (T. Ettinger, public domain). */
export function seededRandom(seed: number): Random {
  let state = seed >>> 0;
  const next = (): number => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = state;
    mixed = Math.imul(mixed ^ (mixed >>> 15), mixed | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
  const byte = (): string =>
    Math.floor(next() * 256)
      .toString(16)
      .padStart(2, '0');
  return { next, token: (byteCount) => Array.from({ length: byteCount }, byte).join('') };
}

/** An integer, uniform in [0, bound). */
export function below(random: Random, bound: number): number {
  return Math.floor(random.next() * bound);
}
