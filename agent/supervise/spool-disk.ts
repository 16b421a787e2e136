import type { AllocationId } from '../../shared/ids.js';
import type { LogStream } from '../../shared/wire/messages.js';

/** Bytes of a stream that are not on this node any more: from, to. In order and apart. */
export type GoneRange = readonly [number, number];

/** What is gone of an attempt's output. */
export type GoneOutput = Readonly<Record<LogStream, readonly GoneRange[]>>;

/** The disk with the files of attempts' output. */
export interface SpoolDisk {
  /** Both 0 for a file that is not there. */
  measure(path: string): { readonly sizeBytes: number; readonly allocatedBytes: number };
  /** Bytes by which the disk is fuller than it should be. */
  excessBytes(): number;
  /** Gives the space of these bytes back, whoever writes the file meanwhile; why not, when that is impossible. */
  release(path: string, range: GoneRange): Promise<string | undefined>;
  /** What earlier processes have put down. Idempotent. */
  load(): ReadonlyMap<AllocationId, GoneOutput>;
  /** Durable when it returns; null removes it. */
  save(id: AllocationId, gone: GoneOutput | null): void;
}
