import type { Cancel } from '../../shared/clock.js';
import type { Refusal } from '../../shared/errors.js';
import type { LoggedEvent } from '../model/events.js';
import type { ClusterView } from '../model/state.js';
import type { Archive } from '../store/archive.js';
import type { Input, Reply } from './inputs.js';

/** What has left memory. Look at the state first: what is not there any more when `read` has answered is here. */
export type ArchiveReader = Pick<Archive, 'pastJob' | 'pastJobs' | 'pastTasks'>;

/** The engine as its callers see it: gateway, service, timers. */
export interface EngineHandle {
  /**
   * Decides one input. Resolves when everything that follows from it is on disk.
   * Rejects with `store-unavailable` or `shutting-down`; then nothing is known about the input's fate.
   */
  handle(input: Input): Promise<Reply | Refusal>;
  /** Decides inputs in order, as one; resolves when everything that follows from all of them is on disk. */
  handleAll(inputs: readonly Input[]): Promise<void>;
  /** Looks at the state; resolves when all that was seen is on disk, so that no reader learns what may be forgotten. */
  read<T>(look: (view: ClusterView) => T): Promise<T>;
  /** Calls `listener` with each batch of events after it is on disk. */
  onCommitted(listener: (events: readonly LoggedEvent[]) => void): Cancel;
  /** Events after `afterSeq`, ascending; null when some of them have been forgotten. */
  history(afterSeq: number, limit: number): Promise<readonly LoggedEvent[] | null>;
  readonly archive: ArchiveReader;
}
