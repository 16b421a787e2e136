import { SPEC_LIMITS, type StepSpec } from '../../shared/job-spec/spec.js';
import { type IndexRange, parseRanges, positionOf, type RangeSet } from '../../shared/ranges.js';
import type { Step } from '../model/job.js';

/** A step's specification never changes, so its array is read from text once. */
const arrays = new WeakMap<StepSpec, RangeSet>();

/**
 * Every index of the step from `from` on, ascending, but for those in `skipped`, whole ranges of which are stepped over.
 * Cost: O(log ranges) to begin, then O(1) each, O(log ranges) where something is skipped.
 */
export function* indexesFrom(step: Step, from: number, skipped: readonly RangeSet[] = []): Generator<number> {
  const ranges = arrayOf(step.spec);
  for (let at = positionOf(ranges, from); at < ranges.length; at += 1) {
    const range = ranges[at] as IndexRange;
    for (let index = Math.max(from, range.from); index <= range.to; index += 1) {
      const passed = rangeAt(skipped, index);
      if (passed) index = passed.to;
      else yield index;
    }
  }
}

function rangeAt(sets: readonly RangeSet[], index: number): IndexRange | undefined {
  for (const ranges of sets) {
    const range = ranges[positionOf(ranges, index)];
    if (range && range.from <= index) return range;
  }
  return undefined;
}

function arrayOf(spec: StepSpec): RangeSet {
  let ranges = arrays.get(spec);
  if (!ranges) {
    const parsed = parseRanges(spec.array, SPEC_LIMITS.maxTasksPerStep);
    ranges = typeof parsed === 'string' ? [] : parsed;
    arrays.set(spec, ranges);
  }
  return ranges;
}
