import type { HpcErrorKind, RemoteJob } from './remote-job.js';
import type { Submission } from './submission.js';

/**
 * A remote batch system, as one account on it sees it: Slurm by its tools or its REST interface, Grid Engine, a site's
 * own tools.
 *
 * Every method ends within HPC_LIMITS.callMs or when its signal says so, and throws nothing but `HpcError`. Calls may
 * run side by side. What has been submitted is named by a *tag*, chosen by the caller and unique within the account.
 */
export interface HpcBackend {
  /** Files on the system, where jobs have their work directories. */
  readonly files: RemoteFiles;

  /** What the system itself expects of jobs that have not been submitted; absent where it says nothing of that. */
  readonly outlook?: QueueOutlook;

  /** What the system remembers of jobs that its controller has forgotten; absent where that is nothing. */
  readonly accounting?: Accounting;

  /**
   * Looks whether jobs can be submitted as configured: connection, credentials, partition, a staging root that can be
   * written. Changes nothing but that it makes the staging root. May be repeated.
   */
  check(signal: AbortSignal): Promise<HpcSite>;

  /**
   * Submits a batch job and returns its id. Its work directory and the script in there must exist.
   *
   * Ask `find` first, whenever a submission with this tag may have been sent: a backend that can do so makes this call
   * idempotent by the tag, but not every system lets it. Errors: `refused` is final; after `unavailable` and
   * `credentials` the job may be there nevertheless.
   */
  submit(submission: Submission, signal: AbortSignal): Promise<string>;

  /**
   * All jobs of this account that have the tag, ended ones too, by age: what the controller knows and, if it knows
   * none, what accounting does. Empty means neither has one; a system without accounting forgets.
   */
  find(tag: string, signal: AbortSignal): Promise<readonly RemoteJob[]>;

  /**
   * The state of many jobs by one call to the controller. It forgets what has ended, single tasks of an array too: an id
   * that is missing from the answer is no error.
   */
  statusOf(ids: readonly string[], signal: AbortSignal): Promise<ReadonlyMap<string, RemoteJob>>;

  /** Asks for the end of a job, whatever its state. Idempotent; a job that has ended or is not known is a success. */
  cancel(id: string, signal: AbortSignal): Promise<void>;

  /** Gives up connections; nothing may be called any more. */
  close(): Promise<void>;
}

export interface Accounting {
  /**
   * Of these jobs those that have ended; by one call, where the system has one for many. May be repeated.
   *
   * An id that is missing from the answer is not known, or not known to have ended: accounting lags behind the
   * controller, and at times is never told. Of an array any part may be missing; one that ended before it was taken
   * apart is told without tasks.
   */
  endedOf(ids: readonly string[], signal: AbortSignal): Promise<ReadonlyMap<string, RemoteJob>>;
}

export interface QueueOutlook {
  /** Who says so, for people. */
  readonly by: string;

  /**
   * When jobs like these would start if they were submitted now, in their order, by one call for all. Submits nothing;
   * may be repeated, though a system has to think for each.
   */
  estimate(jobs: readonly UnsubmittedJob[], signal: AbortSignal): Promise<readonly QueueEstimate[]>;
}

/** What a system decides by; of the script its directives will do. */
export type UnsubmittedJob = Pick<Submission, 'script' | 'options'>;

export type QueueEstimate =
  | { readonly kind: 'starts'; readonly waitMs: number }
  /** It would not be taken as it is. */
  | { readonly kind: 'refused'; readonly message: string };

/** Files of one account on the remote side. Paths are absolute. Throws `HpcError` alone. */
export interface RemoteFiles {
  /**
   * At most `maxBytes` from an offset on: empty at the end of the file, null when there is no such file. A file may
   * grow between two calls, and is never expected to shrink.
   */
  read(path: string, part: FilePart, signal: AbortSignal): Promise<Uint8Array | null>;

  /**
   * Writes from an offset on, with missing folders; at offset 0 the file begins anew. Idempotent. Readers may see a
   * part of the bytes: write elsewhere and `move` what must appear whole.
   */
  write(path: string, bytes: Uint8Array, options: WriteOptions, signal: AbortSignal): Promise<void>;

  /** Gives a file its name at once, in place of what has it. Not idempotent: the source is gone afterwards. */
  move(from: string, to: string, signal: AbortSignal): Promise<void>;

  /** Size and SHA-256 of a file, computed where it lies; null when there is no such file. */
  digest(path: string, signal: AbortSignal): Promise<FileDigest | null>;

  /** Regular files below a folder, by their path from there; empty when there is no such folder. */
  list(folder: string, signal: AbortSignal): Promise<readonly string[]>;

  /** Removes a file, or a folder with all in it. Already gone is a success. */
  remove(path: string, signal: AbortSignal): Promise<void>;
}

export interface FilePart {
  readonly offset: number;
  readonly maxBytes: number;
}

export interface WriteOptions {
  readonly offset: number;
  /** Permissions of a file that begins anew. */
  readonly mode: number;
}

export interface FileDigest {
  readonly byteCount: number;
  readonly sha256: string;
}

/** What is known of a site that could be reached. */
export interface HpcSite {
  /** Name and version of the system, for people. */
  readonly system: string;
  readonly partitions: readonly string[];
  /** Whether it tells of jobs that its controller has forgotten. */
  readonly hasAccounting: boolean;
  /** One more than the largest index of an array; null when it does not tell. */
  readonly maxArraySize: number | null;
}

/** What a backend throws. Branch on `kind`. */
export class HpcError extends Error {
  override readonly name = 'HpcError';
  readonly kind: HpcErrorKind;

  constructor(kind: HpcErrorKind, message: string, options: { readonly cause?: unknown } = {}) {
    super(message, options);
    this.kind = kind;
  }
}

/** The error as what a backend may throw; a time limit and an abort read as `unavailable`. */
export function asHpcError(error: unknown, doing: string): HpcError {
  if (error instanceof HpcError) return error;
  const message = error instanceof Error ? error.message : String(error);
  return new HpcError('unavailable', `${doing}: ${message}`, { cause: error });
}
