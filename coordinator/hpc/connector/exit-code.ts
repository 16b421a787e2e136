import { assertNever } from '../../../shared/assert.js';
import { CANCELED_EXIT, SIGNAL_EXIT_BASE, SYSTEM_FAILURE_EXIT, signalNumber } from '../../../shared/outcome.js';
import type { MirrorOutcome } from '../mirror.js';
import type { ConnectorEnd } from './connector.js';

const REFUSED_EXIT = 64;

/** As a waiting client of the coordinator exits: the task's own code, an array's worst. */
export function exitCodeOfEnd(end: ConnectorEnd): number {
  if (end.kind === 'given-up') return CANCELED_EXIT;
  const exitCode = exitCodeOf(end.outcome);
  return exitCode === 0 && end.missing.length > 0 ? SYSTEM_FAILURE_EXIT : exitCode;
}

function exitCodeOf(outcome: MirrorOutcome): number {
  switch (outcome.kind) {
    case 'completed':
      return 0;
    case 'failed':
      if (outcome.exitCode !== null) return outcome.exitCode;
      return outcome.signal === null ? SYSTEM_FAILURE_EXIT : SIGNAL_EXIT_BASE + outcome.signal;
    case 'canceled':
      return CANCELED_EXIT;
    case 'timed-out':
      return SIGNAL_EXIT_BASE + signalNumber('SIGTERM');
    case 'out-of-memory':
      return SIGNAL_EXIT_BASE + signalNumber('SIGKILL');
    case 'refused':
      return REFUSED_EXIT;
    case 'node-failed':
    case 'preempted':
    case 'unknown':
    case 'lost':
      return SYSTEM_FAILURE_EXIT;
    default:
      return assertNever(outcome, 'outcome of a mirror');
  }
}

export function sentenceOfEnd(end: ConnectorEnd): string {
  if (end.kind === 'given-up') return 'the grace is over; the job was asked to end, and may still run';
  const missing = end.missing.length === 0 ? '' : `; it did not leave ${end.missing.join(', ')}`;
  return sentenceOf(end.outcome) + missing;
}

function sentenceOf(outcome: MirrorOutcome): string {
  switch (outcome.kind) {
    case 'failed':
      if (outcome.exitCode !== null) return `the job failed with exit code ${outcome.exitCode}`;
      return outcome.signal === null
        ? 'the job failed before it began'
        : `the job was ended by signal ${outcome.signal}`;
    case 'unknown':
    case 'lost':
    case 'refused':
      return `the job is ${outcome.kind}: ${outcome.message}`;
    default:
      return SENTENCES[outcome.kind];
  }
}

const SENTENCES = {
  completed: 'the job has completed',
  canceled: 'the job was canceled',
  'timed-out': 'the job reached its time limit',
  'out-of-memory': 'the job needed more memory than it had asked for',
  'node-failed': 'the node of the job failed',
  preempted: 'the job was preempted by the site',
} as const;
