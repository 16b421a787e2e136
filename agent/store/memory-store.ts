import type { AllocationId } from '../../shared/ids.js';
import type { Attempt } from '../model/attempt.js';
import type { AgentState, AgentStore, AttemptChanges } from './store.js';

/** State that outlives the agent object but not the process: for the simulator and tests, where the object is the process. */
export class MemoryAgentStore implements AgentStore {
  readonly #identity: string;
  readonly #attempts = new Map<AllocationId, Attempt>();

  constructor(identity: string) {
    this.#identity = identity;
  }

  async open(): Promise<AgentState> {
    return { identity: this.#identity, attempts: new Map(this.#attempts) };
  }

  async save({ put = [], remove = [] }: AttemptChanges): Promise<void> {
    for (const attempt of put) this.#attempts.set(attempt.allocationId, attempt);
    for (const id of remove) this.#attempts.delete(id);
  }

  async close(): Promise<void> {}
}
