import type { AllocationId } from '../../shared/ids.js';
import type { AllocationEnd } from '../../shared/outcome.js';
import type { Preparation } from '../../shared/preparation.js';
import type { Usage } from '../../shared/usage.js';
import type { LogStream, StartOrder } from '../../shared/wire/messages.js';

/** What a driver tells its supervisor about an attempt, each at least once and possibly again after a restart. */
export type DriverEvent =
  | { readonly kind: 'started'; readonly allocationId: AllocationId }
  /** The command and all it started are gone; what it wrote can be read until `remove`. */
  | ({
      readonly kind: 'ended';
      readonly allocationId: AllocationId;
      readonly end: DriverEnd;
      readonly output: OutputBytes;
    } & EndFacts);

/** What a driver may know of an ended attempt besides. */
export interface EndFacts {
  readonly usage?: Usage;
  /** What exactly the image was. */
  readonly image?: string;
}

/** A driver knows how a command ended, not why it was stopped: `stopped` is the supervisor's word. */
export type DriverEnd = Exclude<AllocationEnd, { kind: 'stopped' }>;

/** Bytes that an attempt wrote in all. */
export interface OutputBytes {
  readonly stdoutBytes: number;
  readonly stderrBytes: number;
}

/** What a driver finds of an attempt after the agent was restarted. */
export type Recovery =
  | { readonly kind: 'absent' }
  | { readonly kind: 'running'; readonly startedAgeMs: number }
  | ({ readonly kind: 'ended'; readonly end: DriverEnd; readonly output: OutputBytes } & EndFacts);

/** What the task sees at a place of its own. */
export type Mount =
  | {
      readonly kind: 'folder';
      readonly source: string;
      /** Which folder is meant, by device and inode; absent where nobody else can change what `source` leads to. */
      readonly identity?: string;
      readonly target: string;
      readonly readOnly: boolean;
    }
  /** Memory that is the task's alone. */
  | { readonly kind: 'memory'; readonly sizeMiB: number; readonly target: string };

/** An order whose files are in place. Drivers that cannot mount are given no mounts. */
export interface PreparedOrder extends StartOrder {
  readonly mounts?: readonly Mount[];
}

/** Tells what attempts have on disk. */
export interface DiskMeter {
  /**
   * Bytes of the files that are the attempt's alone, and of those in `folders` besides. What would cost too much to
   * count is left out. Never rejects; nothing for an unknown attempt.
   */
  diskUse(allocationId: AllocationId, folders: readonly string[]): Promise<number>;
}

/** Tells what is in the way of commands. */
export interface Preparations {
  /** Undefined when nothing is, and for an unknown attempt. */
  of(allocationId: AllocationId): Preparation | undefined;
}

/** Files in which output lies that is written without this process. */
export interface OutputFiles {
  /** Where it is, or would be. Bytes keep their positions: what is given back of it reads as zeros. */
  outputFile(allocationId: AllocationId, stream: LogStream): string;
}

/** Runs attempts so that they outlive this process (P5). Every implementation passes test/conformance/task-driver. */
export interface TaskDriver {
  /** Absent where the driver cannot tell. */
  readonly disk?: DiskMeter;
  /** Absent where nothing can be given back. */
  readonly output?: OutputFiles;
  /** Absent where nothing that lasts comes before a command. */
  readonly preparations?: Preparations;
  /**
   * Starts an attempt, at most once in the life of its allocation id, however often this is called and whatever
   * process calls it. Resolves once the attempt is durable enough to be recovered; `started` and `ended` follow.
   * What the order itself makes impossible (no such directory) is an `ended` event with `start-failed`, not an error;
   * what only this node cannot do (it has no GPU runtime) is one with `rejected`, since another node may.
   * Errors: `task-start-failed` for the node's own trouble; may be retried.
   */
  start(order: PreparedOrder): Promise<void>;
  /**
   * Sends a signal to every process of the attempt; SIGKILL leaves none alive when it resolves.
   * Idempotent; an attempt that is not running is no error. Errors: `internal` when a process survives SIGKILL (it
   * hangs in the kernel); may be retried.
   */
  signal(allocationId: AllocationId, signal: string): Promise<void>;
  /**
   * What became of attempts of an earlier agent process: call once, first, with every id that is still of interest.
   * Those still running are watched from now on; those that ended are not reported again by an event; what is left
   * of any other attempt that has ended is deleted.
   */
  recover(allocationIds: readonly AllocationId[]): Promise<ReadonlyMap<AllocationId, Recovery>>;
  /** Bytes of an attempt's output from `offset`, at most `maxBytes`; empty at the end or when the attempt is unknown. */
  read(allocationId: AllocationId, stream: LogStream, offset: number, maxBytes: number): Promise<Uint8Array>;
  /** Forgets an ended attempt and deletes what it left. Idempotent; unknown is no error. */
  remove(allocationId: AllocationId): Promise<void>;
  /** Stops watching; attempts go on. */
  close(): Promise<void>;
}

/** Passed to a driver when it is made. */
export type DriverListener = (event: DriverEvent) => void;

/** Makes a driver that takes over what an earlier one left. Errors: `task-start-failed` when it cannot work here. */
export type DriverFactory = (listener: DriverListener) => Promise<TaskDriver>;
