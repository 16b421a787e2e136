import type { AllocationId } from '../../shared/ids.js';
import type { Attempt } from '../model/attempt.js';
import type { AgentState, AgentStore, AttemptChanges } from './store.js';

interface Waiting {
  readonly changes: AttemptChanges;
  readonly resolve: () => void;
}

/**
 * State that outlives the agent object but not the process: for the simulator and tests, where the object is the process.
 *
 * What can wait is lost if the next process opens it before a change that cannot.
 */
export class MemoryAgentStore implements AgentStore {
  readonly #identity: string;
  readonly #attempts = new Map<AllocationId, Attempt>();
  #waiting: Waiting[] = [];

  constructor(identity: string) {
    this.#identity = identity;
  }

  async open(): Promise<AgentState> {
    this.#waiting = [];
    return { identity: this.#identity, attempts: new Map(this.#attempts) };
  }

  save(changes: AttemptChanges): Promise<void> {
    return new Promise((resolve) => {
      this.#waiting.push({ changes, resolve });
      if (!changes.canWait) this.#write();
    });
  }

  async close(): Promise<void> {
    this.#write();
  }

  #write(): void {
    for (const { changes, resolve } of this.#waiting.splice(0)) {
      for (const attempt of changes.put ?? []) this.#attempts.set(attempt.allocationId, attempt);
      for (const id of changes.remove ?? []) this.#attempts.delete(id);
      resolve();
    }
  }
}
