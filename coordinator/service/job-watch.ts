import type { Cancel } from '../../shared/clock.js';
import { type JobId, parseAllocationId } from '../../shared/ids.js';
import type { EngineHandle } from '../engine/handle.js';
import type { BerthEvent, LoggedEvent } from '../model/events.js';

export type JobListener = (event: BerthEvent) => void;

/** One subscription to the engine, shared by all who wait for something of a job. Cost of an event: O(its job's listeners). */
export class JobWatch {
  readonly #listeners = new Map<JobId, Set<JobListener>>();
  readonly #cancel: Cancel;
  #count = 0;

  constructor(engine: Pick<EngineHandle, 'onCommitted'>) {
    this.#cancel = engine.onCommitted((events) => this.#deliver(events));
  }

  get listenerCount(): number {
    return this.#count;
  }

  /** Calls `listener` with each of the job's events once it is on disk. */
  on(jobId: JobId, listener: JobListener): Cancel {
    const listeners = this.#listeners.get(jobId) ?? new Set();
    this.#listeners.set(jobId, listeners.add(listener));
    this.#count += 1;
    return () => {
      if (!listeners.delete(listener)) return;
      this.#count -= 1;
      if (listeners.size === 0 && this.#listeners.get(jobId) === listeners) this.#listeners.delete(jobId);
    };
  }

  close(): void {
    this.#cancel();
    this.#listeners.clear();
    this.#count = 0;
  }

  #deliver(events: readonly LoggedEvent[]): void {
    if (this.#listeners.size === 0) return;
    for (const { event } of events) {
      const jobId = jobOf(event);
      if (jobId === undefined) continue;
      for (const listener of this.#listeners.get(jobId) ?? []) listener(event);
    }
  }
}

function jobOf(event: BerthEvent): JobId | undefined {
  if ('jobId' in event) return event.jobId;
  return 'allocationId' in event ? parseAllocationId(event.allocationId)?.jobId : undefined;
}
