import { assertNever } from '../../shared/assert.js';
import type { AllocationId } from '../../shared/ids.js';
import type { AllocationEnd, StopReason } from '../../shared/outcome.js';
import type { HeldPhase, ReportedEnd, StartOrder } from '../../shared/wire/messages.js';
import type { DriverEnd, OutputBytes } from '../driver/driver.js';
import type { Attempt, AttemptPhase } from '../model/attempt.js';

export const NO_OUTPUT: OutputBytes = { stdoutBytes: 0, stderrBytes: 0 };

export function accepted(order: StartOrder): Attempt {
  const { allocationId, driver } = order;
  return { allocationId, driver, order: withoutValues(order), phase: { kind: 'accepted' }, stopReason: null };
}

/** What goes to disk of an order: which secrets it has, and none of their values. */
function withoutValues({ secrets, registryAuth, ...order }: StartOrder): StartOrder {
  return secrets ? { ...order, secrets: secrets.map((secret) => ({ ...secret, value: null })) } : order;
}

/** A secret that the order names and has no value of; undefined when there is none. */
export function missingSecret(order: StartOrder): string | undefined {
  return order.secrets?.find(({ value }) => value === null)?.name;
}

/** An attempt that ends before any driver sees it: refused, or stopped before it came. */
export function stillborn(allocationId: AllocationId, end: AllocationEnd): Attempt {
  const stopReason = end.kind === 'stopped' ? end.reason : null;
  const reported: ReportedEnd = { end, ...NO_OUTPUT };
  return { allocationId, driver: null, order: null, phase: { kind: 'ended', end: reported }, stopReason };
}

/** How the attempt ended in the coordinator's words: whatever ended after a stop was asked for was stopped. */
export function endOf(end: DriverEnd, stopReason: StopReason | null): AllocationEnd {
  if (stopReason === null) return end;
  const ranMs = 'ranMs' in end ? end.ranMs : 0;
  const exitCode = end.kind === 'exited' ? { exitCode: end.exitCode } : {};
  return { kind: 'stopped', reason: stopReason, ...exitCode, ranMs };
}

export function heldPhase(phase: AttemptPhase): HeldPhase {
  switch (phase.kind) {
    case 'accepted':
      return 'preparing';
    case 'running':
    case 'stopping':
    case 'ended':
      return phase.kind;
    default:
      return assertNever(phase, 'attempt phase');
  }
}
