import { orAborted } from '../shell/remote-shell.js';

/** One call for all who want its result; it is given up when none of them waits any more. */
export interface SharedCall<Value> {
  /** Throws what the call does, or `unavailable` once the signal says so. */
  wait(signal: AbortSignal): Promise<Value>;
}

export function sharedCall<Value>(start: (signal: AbortSignal) => Promise<Value>): SharedCall<Value> {
  const controller = new AbortController();
  const result = start(controller.signal);
  let waitingCount = 0;
  return {
    wait: async (signal) => {
      waitingCount += 1;
      try {
        return await orAborted(result, signal);
      } finally {
        waitingCount -= 1;
        if (waitingCount === 0) controller.abort();
      }
    },
  };
}
