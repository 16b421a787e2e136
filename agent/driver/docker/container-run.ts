import type { AllocationId } from '../../../shared/ids.js';
import type { Preparation } from '../../../shared/preparation.js';
import { usageOf } from '../../../shared/usage.js';
import type { DriverEnd, EndFacts } from '../driver.js';

/**
 * What this process knows of one attempt's container.
 *
 * preparing: nothing is asked to start, and a signal ends it at once. starting: Docker is asked, its answer is not here
 * yet. running: Docker has started it. ended: it is over, and its output is whole.
 */
export interface ContainerRun {
  readonly id: AllocationId;
  readonly name: string;
  phase: 'preparing' | 'starting' | 'running' | 'ended';
  /** Ends what goes on before the start: a pull, a wait for the daemon. */
  readonly abort: AbortController;
  /** The first signal that was sent before there was anything to send it to. */
  earlySignal: string | null;
  end: DriverEnd | null;
  /** Digest of its image, and how long it was waited for, once they are known. */
  image: string | null;
  pulledMs: number | null;
  /** The pull that it waits for. */
  pull: Preparation | null;
  /** What was last sent to it. A container that ends by SIGKILL without one was killed by its daemon's restart. */
  lastSignal: string | null;
  readonly over: Promise<void>;
  readonly tellOver: () => void;
}

export function newRun(id: AllocationId, name: string): ContainerRun {
  let tellOver = (): void => {};
  const over = new Promise<void>((resolve) => {
    tellOver = resolve;
  });
  const abort = new AbortController();
  return {
    id,
    name,
    phase: 'preparing',
    abort,
    earlySignal: null,
    end: null,
    image: null,
    pulledMs: null,
    pull: null,
    lastSignal: null,
    over,
    tellOver,
  };
}

export function factsOf({ image, pulledMs }: ContainerRun): EndFacts {
  const usage = usageOf({ pulledMs });
  return { ...(image === null ? {} : { image }), ...(usage === undefined ? {} : { usage }) };
}
