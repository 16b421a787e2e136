import type { HpcTarget } from './target.js';

/** The indexes that tasks of one remote array may have; both ends are in it. */
export interface ArrayRange {
  readonly first: number;
  readonly last: number;
}

/** Slurm's MaxArraySize where its operator has said nothing: the largest index is one less. */
const USUAL_ARRAY_SIZE = 1_001;

/** @param asked  the site's own MaxArraySize; null when it did not tell */
export function arrayRangeOf(target: Pick<HpcTarget, 'backend' | 'maxArraySize'>, asked: number | null): ArrayRange {
  const size = target.maxArraySize ?? asked;
  switch (target.backend) {
    case 'sge':
      return { first: 1, last: size ?? Number.MAX_SAFE_INTEGER };
    case 'command':
      return { first: 0, last: size === null ? Number.MAX_SAFE_INTEGER : size - 1 };
    default:
      return { first: 0, last: (size ?? USUAL_ARRAY_SIZE) - 1 };
  }
}

/** Whether tasks with these indexes, and any between, can be one remote array. */
export function fitsRange({ first, last }: ArrayRange, lowest: number, highest: number): boolean {
  return highest - lowest <= last - first;
}

/** What the indexes of such an array are less by at the site than here; 0 where they can be as they are. */
export function indexOffset({ first, last }: ArrayRange, lowest: number, highest: number): number {
  return lowest >= first && highest <= last ? 0 : lowest - first;
}
