import type { AllocationId } from '../../shared/ids.js';
import type { Attempt } from '../model/attempt.js';

/** What an agent must not forget: who it is, and every attempt until the coordinator has acknowledged its end. */
export interface AgentState {
  readonly identity: string;
  readonly attempts: ReadonlyMap<AllocationId, Attempt>;
}

/** The agent's own small durable state. Implementations: lowdb on disk, memory for tests and the simulator. */
export interface AgentStore {
  /** Reads the state, making the identity at the first call ever. Throws `store-corrupt` with advice. */
  open(): Promise<AgentState>;
  /**
   * Makes the changes durable, all or none, in the order of the calls. Calls made while one is under way are written
   * together (group commit).
   * Errors: `store-unavailable`; the caller must not act as if the change had been kept.
   */
  save(changes: AttemptChanges): Promise<void>;
  close(): Promise<void>;
}

export interface AttemptChanges {
  readonly put?: readonly Attempt[];
  readonly remove?: readonly AllocationId[];
  /** Nobody waits for it: it is written with the next change that cannot wait, or after a while. */
  readonly canWait?: true;
}
