import type { Artifact } from '../../shared/artifact.js';

/** Bytes from `from` up to and without `to`. */
export interface ByteRange {
  readonly from: number;
  readonly to: number;
}

/** Files by their content, whole or not there. Every implementation passes test/conformance/artifact-store. */
export interface ArtifactStore {
  /**
   * Keeps the content; resolved means that it survives the loss of power. Idempotent: the same content is kept once,
   * and one that is known already is not read.
   * Errors: `digest-mismatch` when it is not what `expected` says, `payload-too-large`, `too-many-streams`;
   * `artifacts-full` when the disk has no room, which may be retried. After each, nothing is kept.
   */
  put(content: AsyncIterable<Uint8Array>, expected?: string): Promise<Artifact>;
  /** Undefined when it is not there. It starts its time of grace anew. */
  find(sha256: string): Promise<Artifact | undefined>;
  /** Pieces of a found artifact. Errors: `not-found` when it is not there. */
  read(sha256: string, range: ByteRange): AsyncIterable<Uint8Array>;
  /** Deletes what is not in use and past its grace; says how much that was. */
  collect(isInUse: (sha256: string) => boolean): Promise<Collected>;
}

export interface Collected {
  readonly count: number;
  readonly bytes: number;
}
