import { isSignalName, RETRYABLE_ENDS, type RetryableEnd, SIGNAL_NAMES } from '../outcome.js';
import { didYouMean } from '../suggest.js';
import { shown } from '../units.js';
import { RETRY_SHAPE, STOP_SHAPE } from './fields.js';
import { child, type Field, invalid } from './findings.js';
import { hasShape, readInteger, readList, readOneOf, readOr, readText } from './read.js';
import { readDuration } from './sizes.js';
import { MAX_BACKOFF_MS, type RetrySpec, SPEC_DEFAULTS, SPEC_LIMITS, type StopSpec } from './spec.js';

/** How long a task may run, how often it is tried, and how it is stopped. */
export function readTimeLimit(field: Field): number | undefined {
  return readDuration(field, { minMs: 1, maxMs: SPEC_LIMITS.maxTimeLimitMs });
}

/**
 * Whoever says how often a task is to be tried means its own failures too, so these are retried unless `on` says
 * otherwise. A time limit is not: a second run would mostly meet it again.
 */
const ON_WHEN_ATTEMPTS_ARE_GIVEN: readonly RetryableEnd[] = RETRYABLE_ENDS.filter((end) => end !== 'time-limit');

export function readRetry(field: Field): RetrySpec {
  if (field.value === undefined || !hasShape(field, RETRY_SHAPE, 'an object with maxAttempts, backoff, on')) {
    return SPEC_DEFAULTS.retry;
  }
  const attempts = child(field, 'maxAttempts');
  const defaultOn = attempts.value === undefined ? SPEC_DEFAULTS.retry.on : ON_WHEN_ATTEMPTS_ARE_GIVEN;
  return {
    maxAttempts: readOr(attempts, readAttempts, SPEC_DEFAULTS.retry.maxAttempts),
    backoffMs: readOr(child(field, 'backoff'), readBackoff, SPEC_DEFAULTS.retry.backoffMs),
    on: readOr(child(field, 'on'), readEnds, defaultOn),
  };
}

function readAttempts(field: Field): number | undefined {
  return readInteger(field, { what: 'a number of attempts', min: 1, max: SPEC_LIMITS.maxAttempts });
}

function readBackoff(field: Field): number | undefined {
  return readDuration(field, { minMs: 0, maxMs: MAX_BACKOFF_MS });
}

/** In the order of the table, each once, so that equal sets are equal lists. */
function readEnds(field: Field): readonly RetryableEnd[] | undefined {
  const ends = readList(field, RETRYABLE_ENDS.length, (entry) => readOneOf(entry, RETRYABLE_ENDS));
  return ends && RETRYABLE_ENDS.filter((end) => ends.includes(end));
}

export function readStop(field: Field): StopSpec {
  if (field.value === undefined || !hasShape(field, STOP_SHAPE, 'an object with signal, grace'))
    return SPEC_DEFAULTS.stop;
  return {
    signal: readOr(child(field, 'signal'), readSignal, SPEC_DEFAULTS.stop.signal),
    graceMs: readOr(child(field, 'grace'), readGrace, SPEC_DEFAULTS.stop.graceMs),
  };
}

function readGrace(field: Field): number | undefined {
  return readDuration(field, { minMs: 0, maxMs: SPEC_LIMITS.maxGraceMs });
}

/** `SIGUSR1`, or `USR1` as kill(1) has it. */
function readSignal(field: Field): string | undefined {
  const text = readText(field, 'the name of a signal');
  if (text === undefined) return undefined;
  const name = text.startsWith('SIG') ? text : `SIG${text}`;
  if (isSignalName(name)) return name;
  return invalid(field, `${shown(text)} is not a signal; write for example SIGINT${didYouMean(name, SIGNAL_NAMES)}`);
}
