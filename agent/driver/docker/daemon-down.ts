import { type Clock, sleep } from '../../../shared/clock.js';
import type { ContainerRun } from './container-run.js';
import { faultKind } from './faults.js';

export interface DownOptions {
  readonly clock: Clock;
  /** Aborted when the driver is closed: containers go on, and nothing more is said of them. */
  readonly closing: AbortSignal;
}

/** How often a daemon that is away is asked again. */
export const DOWN_POLL_MS = 250;
/** An attempt that has not started does not wait longer for a daemon: another node may have one. */
const MAX_DOWN_MS = 120_000;

/** Tries again while the daemon is away, unless the attempt is stopped before it started. */
export async function whileDown<Value>(
  run: ContainerRun,
  { clock, closing }: DownOptions,
  act: () => Promise<Value>,
): Promise<Value> {
  const until = clock.monotonic() + MAX_DOWN_MS;
  for (;;) {
    try {
      return await act();
    } catch (error) {
      const isStopped = closing.aborted || (run.phase === 'preparing' && run.abort.signal.aborted);
      if (faultKind(error) !== 'down' || isStopped || clock.monotonic() >= until) throw error;
      await sleep(clock, DOWN_POLL_MS);
    }
  }
}
