/**
 * A set of array indexes as ascending, disjoint, non-adjacent ranges: a million-task array is one entry.
 *
 * Immutable; `without` and `with` share what they do not change. All costs are in the number of ranges.
 */
export interface IndexRange {
  readonly from: number;
  /** Inclusive. */
  readonly to: number;
}

export type RangeSet = readonly IndexRange[];

export const EMPTY_RANGES: RangeSet = [];

export function rangesCount(ranges: RangeSet): number {
  let count = 0;
  for (const range of ranges) count += range.to - range.from + 1;
  return count;
}

export function rangesHave(ranges: RangeSet, index: number): boolean {
  const at = positionOf(ranges, index);
  const range = ranges[at];
  return range !== undefined && range.from <= index;
}

export function firstIndex(ranges: RangeSet): number | undefined {
  return ranges[0]?.from;
}

/** The set less `index`; the same set when it is not in it. */
export function without(ranges: RangeSet, index: number): RangeSet {
  const at = positionOf(ranges, index);
  const range = ranges[at];
  if (range === undefined || range.from > index) return ranges;
  const rest: IndexRange[] = [];
  if (range.from < index) rest.push({ from: range.from, to: index - 1 });
  if (range.to > index) rest.push({ from: index + 1, to: range.to });
  return [...ranges.slice(0, at), ...rest, ...ranges.slice(at + 1)];
}

/** The set and these ascending indexes, none of which is in it yet. Cost: O(ranges + indexes). */
export function withIndexes(ranges: RangeSet, indexes: readonly number[]): RangeSet {
  if (indexes.length === 0) return ranges;
  const merged: IndexRange[] = [];
  const add = ({ from, to }: IndexRange): void => {
    const last = merged.at(-1);
    if (last && from === last.to + 1) merged[merged.length - 1] = { from: last.from, to };
    else merged.push({ from, to });
  };
  let at = 0;
  for (const index of indexes) {
    for (let range = ranges[at]; range && range.from < index; range = ranges[at]) {
      add(range);
      at += 1;
    }
    add({ from: index, to: index });
  }
  for (; at < ranges.length; at += 1) add(ranges[at] as IndexRange);
  return merged;
}

export function* eachIndex(ranges: RangeSet): Generator<number> {
  for (const { from, to } of ranges) for (let index = from; index <= to; index += 1) yield index;
}

/** Position of the first range that ends at or after `index`. Cost: O(log ranges). */
export function positionOf(ranges: RangeSet, index: number): number {
  let low = 0;
  let high = ranges.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if ((ranges[middle] as IndexRange).to < index) low = middle + 1;
    else high = middle;
  }
  return low;
}

const PART = /^(\d{1,9})(?:-(\d{1,9})(?::(\d{1,9}))?)?$/;

/**
 * Reads `7`, `1-100`, `1-9:2,20`: comma-separated indexes and ranges, a step after a colon.
 *
 * @returns the set, or a message that says what is wrong with the text
 */
export function parseRanges(text: string, maxCount: number): RangeSet | string {
  const found: IndexRange[] = [];
  let count = 0;
  for (const part of text.split(',')) {
    const match = PART.exec(part.trim());
    if (!match) return `"${part}" is neither an index nor a range; write 7, 1-100 or 1-9:2`;
    const from = Number(match[1]);
    const to = Number(match[2] ?? match[1]);
    const stride = Number(match[3] ?? 1);
    if (to < from) return `"${part}" runs backwards`;
    if (stride === 0) return `"${part}" has a step of 0`;
    count += Math.floor((to - from) / stride) + 1;
    if (count > maxCount) return `it has more than ${maxCount} tasks`;
    if (stride === 1) found.push({ from, to });
    else for (let index = from; index <= to; index += stride) found.push({ from: index, to: index });
  }
  found.sort((left, right) => left.from - right.from);
  const merged: IndexRange[] = [];
  for (const range of found) {
    const last = merged.at(-1);
    if (last && range.from <= last.to) return `index ${range.from} appears twice`;
    if (last && range.from === last.to + 1) merged[merged.length - 1] = { from: last.from, to: range.to };
    else merged.push(range);
  }
  return merged;
}

/** The canonical text of a set: `1-100`, `1,3,5`. */
export function formatRanges(ranges: RangeSet): string {
  return ranges.map(({ from, to }) => (from === to ? `${from}` : `${from}-${to}`)).join(',');
}
