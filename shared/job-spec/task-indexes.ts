import { assert } from '../assert.js';
import { parseRanges, type RangeSet, rangesCount } from '../ranges.js';
import { SPEC_LIMITS, type StepSpec } from './spec.js';

/** The indexes of a step's tasks; a canonical specification's array was checked when it was parsed. Cost: O(ranges). */
export function taskIndexesOf({ array }: Pick<StepSpec, 'array'>): RangeSet {
  const ranges = parseRanges(array, SPEC_LIMITS.maxTasksPerStep);
  assert(typeof ranges !== 'string', `unreadable array ${array}`);
  return ranges;
}

export function taskCountOf(step: Pick<StepSpec, 'array'>): number {
  return rangesCount(taskIndexesOf(step));
}
