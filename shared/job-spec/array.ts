import { parseRanges, type RangeSet } from '../ranges.js';
import { shown } from '../units.js';
import { child, type Field, invalid } from './findings.js';
import { readInteger } from './read.js';
import { SPEC_LIMITS } from './spec.js';

const ONE_TASK = '0';
/** Fewer indexes than this are as short written one by one. */
const MIN_STRIDE_RUN = 3;

/** The task indexes of a step, from its `array` or `count`, as canonical text. */
export function readArray(step: Field): string {
  const array = child(step, 'array');
  const count = child(step, 'count');
  if (array.value !== undefined && count.value !== undefined) {
    invalid(count, 'cannot be given together with "array"; keep one of them');
  } else if (count.value !== undefined) {
    const range = { what: 'a number of tasks', min: 1, max: SPEC_LIMITS.maxTasksPerStep };
    return indexesBelow(readInteger(count, range) ?? 1);
  }
  return array.value === undefined ? ONE_TASK : readIndexes(array);
}

function indexesBelow(count: number): string {
  return count === 1 ? ONE_TASK : `0-${count - 1}`;
}

function readIndexes(field: Field): string {
  const { value } = field;
  let text = value;
  if (Array.isArray(value)) {
    const wrong = value.find((entry) => !Number.isInteger(entry) || entry < 0);
    if (wrong !== undefined) invalid(field, `${shown(wrong)} is not an index; a list has whole numbers from 0`);
    if (value.length === 0) invalid(field, 'is empty; a step has at least one task');
    text = wrong === undefined && value.length > 0 ? value.join(',') : ONE_TASK;
  }
  if (typeof text === 'number') {
    invalid(
      field,
      `${text} may mean two things; write array: "${text}" for that one index, or count: ${text} for so many tasks`,
    );
    return ONE_TASK;
  }
  if (typeof text !== 'string') {
    invalid(field, `${shown(text)} is not a set of indexes; write for example "1-100" or [1, 5, 7]`);
    return ONE_TASK;
  }
  const ranges = parseRanges(text, SPEC_LIMITS.maxTasksPerStep);
  if (typeof ranges !== 'string') return formatIndexes(ranges);
  invalid(field, `${shown(text)}: ${ranges}`);
  return ONE_TASK;
}

/** The shortest of the equal spellings: `1-100`, `1-9:2,20`. Cost: O(ranges). */
export function formatIndexes(ranges: RangeSet): string {
  const parts: string[] = [];
  for (let position = 0; position < ranges.length; ) {
    const run = strideRun(ranges, position);
    parts.push(run.text);
    position += run.rangeCount;
  }
  return parts.join(',');
}

/** The longest run of single indexes at equal distance that starts here, or the one range. */
function strideRun(ranges: RangeSet, start: number): { readonly text: string; readonly rangeCount: number } {
  const first = ranges[start];
  if (!first) return { text: '', rangeCount: 1 };
  if (first.from !== first.to) return { text: `${first.from}-${first.to}`, rangeCount: 1 };
  const stride = (ranges[start + 1]?.from ?? first.from) - first.from;
  let last = first.from;
  let end = start + 1;
  for (let next = ranges[end]; next && next.from === next.to && next.from - last === stride; next = ranges[end]) {
    last = next.from;
    end += 1;
  }
  if (end - start < MIN_STRIDE_RUN) return { text: `${first.from}`, rangeCount: 1 };
  return { text: `${first.from}-${last}:${stride}`, rangeCount: end - start };
}
