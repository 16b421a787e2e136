import type { StoredOutput } from '../artifact.js';
import type { AllocationId, JobId, NodeId, TaskId } from '../ids.js';
import type { ContainerSpec, DriverName, RunSpec, SecretUse, StopSpec, TargetName } from '../job-spec/spec.js';
import type { InputSource, InputSpec, OutputSpec, VolumeMount } from '../job-spec/staging-spec.js';
import type { AllocationEnd, StopReason } from '../outcome.js';
import type { AttemptPreparation } from '../preparation.js';
import type { GpuDevice, Resources } from '../resources.js';
import type { Usage } from '../usage.js';

/** Version of the agent wire; a coordinator serves agents of PROTOCOL_VERSION - 1 and PROTOCOL_VERSION. */
export const PROTOCOL_VERSION = 1;
export const OLDEST_AGENT_PROTOCOL = 1;

/** The wire's messages in the program's own types; `codec.ts` maps them to and from protobuf. */
export type Body =
  | { readonly kind: 'hello'; readonly hello: Hello }
  | { readonly kind: 'welcome'; readonly welcome: Welcome }
  | { readonly kind: 'refuse'; readonly refuse: Refuse }
  | { readonly kind: 'sync'; readonly sync: Sync }
  | { readonly kind: 'orders'; readonly orders: Orders }
  | { readonly kind: 'reports'; readonly reports: readonly Report[] }
  | { readonly kind: 'departing'; readonly reason: string }
  | { readonly kind: 'inventory'; readonly inventory: Inventory }
  /** It holds nothing and takes nothing: the answer to the asking of this number. */
  | { readonly kind: 'closed'; readonly closing: number }
  | { readonly kind: 'heartbeat'; readonly heartbeat: Heartbeat }
  | { readonly kind: 'log-chunk'; readonly chunk: LogChunk }
  | { readonly kind: 'log-ack'; readonly ack: LogAck }
  | { readonly kind: 'nothing' };

export type BodyKind = Body['kind'];

/** Kinds that travel in sequence, are acknowledged and resent; all others are samples or carry their own offsets. */
export const SEQUENCED_KINDS: ReadonlySet<BodyKind> = new Set([
  'sync',
  'orders',
  'reports',
  'departing',
  'inventory',
  'closed',
]);

export interface Frame {
  /** 0 when outside the sequence. */
  readonly seq: number;
  readonly ack: number;
  readonly body: Body;
}

export interface Hello {
  readonly protocol: number;
  readonly version: string;
  readonly nodeId: NodeId;
  readonly identity: string;
  readonly instance: string;
  readonly bootId: string;
  readonly inventory: Inventory;
  readonly held: readonly Held[];
}

/** A remote batch system is a node with one driver, which nobody else has. */
export type NodeDriver = DriverName | TargetName;

export interface Inventory {
  readonly capacity: Resources;
  readonly gpus: readonly GpuDevice[];
  readonly labels: Readonly<Record<string, string>>;
  readonly attributes: Readonly<Record<string, string>>;
  readonly drivers: readonly NodeDriver[];
  /** Where other nodes reach this one; absent when the agent did not say. */
  readonly address?: string;
  /** What the node's operator lets tasks mount; absent when there is nothing. */
  readonly volumes?: readonly Volume[];
}

export interface Volume {
  readonly name: string;
  readonly writable: boolean;
}

export type HeldPhase = 'preparing' | 'running' | 'stopping' | 'ended';

/** An allocation as the agent holds it. */
export interface Held {
  readonly allocationId: AllocationId;
  readonly phase: HeldPhase;
  /** Present exactly when `phase` is ended. */
  readonly end?: ReportedEnd;
  /** Milliseconds since it entered the phase, on the agent's monotonic clock. */
  readonly ageMs: number;
  /** Milliseconds since the command started; absent if it never did. */
  readonly startedAgeMs?: number;
}

export interface ReportedEnd {
  readonly end: AllocationEnd;
  /** Bytes that the attempt wrote in all: its log is whole when this much has arrived. */
  readonly stdoutBytes: number;
  readonly stderrBytes: number;
  readonly usage?: Usage;
  /** What exactly the image was: its digest in its registry, or its id on the node. */
  readonly image?: string;
  /** Absent when nothing was staged. */
  readonly staging?: StagingRecord;
}

/** What went in and came out of an attempt's workspace. */
export interface StagingRecord {
  /** Inputs whose digest the order did not say. */
  readonly inputs: readonly StoredOutput[];
  /** Kept by the coordinator before the end was reported. */
  readonly outputs: readonly StoredOutput[];
  /** What could not be kept, and why. */
  readonly note?: string;
}

export interface Welcome {
  readonly protocol: number;
  readonly version: string;
  readonly heartbeatMs: number;
}

export interface Refuse {
  readonly code: string;
  readonly message: string;
  /** The agent must not come back by itself. */
  readonly final: boolean;
}

export interface Sync {
  readonly keep: readonly AllocationId[];
  readonly stop: readonly StopOrder[];
  readonly start: readonly StartOrder[];
  /** Ended allocations whose record the agent may forget. */
  readonly forget: readonly AllocationId[];
  /** Number of the asking by which the node is to close; absent: it is open. */
  readonly closing?: number;
}

export interface Orders {
  readonly start: readonly StartOrder[];
  readonly stop: readonly StopOrder[];
  /** The node is to close, by the asking of this number, or, when it is 0, open again; absent: as it was. */
  readonly closing?: number;
}

/** A part of a GPU, which the task is told and keeps to by itself. */
export interface GpuPart {
  readonly shareMillis: number;
  readonly memoryMiB: number;
}

/** A rank's place in its gang. */
export interface GangPlace {
  /** From 0. */
  readonly rank: number;
  readonly size: number;
  /** Where the nodes of all ranks are reached, by rank; empty where a node did not say. */
  readonly peers: readonly string[];
}

export interface StartOrder {
  readonly allocationId: AllocationId;
  readonly jobId: JobId;
  readonly taskId: TaskId;
  readonly jobName: string;
  readonly namespace: string;
  readonly step: string;
  readonly index: number;
  readonly attempt: number;
  readonly taskCount: number;
  readonly driver: DriverName;
  readonly image: string | null;
  readonly container?: ContainerSpec;
  readonly run: RunSpec;
  readonly env: Readonly<Record<string, string>>;
  /** Absent: as the node has it. */
  readonly user?: string;
  readonly workdir: string | null;
  readonly resources: Resources;
  /** Its CPUs are cores that no other pinned attempt of the node has. Absent when any cores will do. */
  readonly pinCpus?: true;
  /** The devices that are this attempt's alone, or that it shares. */
  readonly gpus: readonly GpuDevice[];
  /** How much of each device is the attempt's; null when they are its alone. */
  readonly gpuPart: GpuPart | null;
  readonly timeLimitMs: number | null;
  readonly stop: StopSpec;
  /** How it is asked to go when it will be tried again; absent when that is as `stop` says. */
  readonly checkpoint?: StopSpec;
  /** Present when the task is a rank of a gang. */
  readonly gang?: GangPlace;
  /** Absent when there are none, as the two below. */
  readonly inputs?: readonly InputOrder[];
  readonly outputs?: readonly OutputSpec[];
  readonly volumes?: readonly VolumeMount[];
  /** Absent when there are none. */
  readonly secrets?: readonly SecretGrant[];
  /** How to log in at the image's registry; absent when nobody said. */
  readonly registryAuth?: RegistryAuth;
}

/** A secret on its way to an attempt. */
export interface SecretGrant extends SecretUse {
  /** Null when it was removed meanwhile, and in what an agent keeps of an order on disk. */
  readonly value: Uint8Array | null;
}

export interface RegistryAuth {
  readonly username: string;
  readonly password: string;
}

/** An input whose source the agent can reach by itself. */
export interface InputOrder extends Omit<InputSpec, 'source'> {
  readonly source:
    | Exclude<InputSource, { kind: 'step' }>
    /** There is nothing to bring. */
    | { readonly kind: 'fault'; readonly message: string };
}

export interface StopOrder {
  readonly allocationId: AllocationId;
  readonly reason: StopReason;
}

export interface Report {
  readonly allocationId: AllocationId;
  readonly phase: HeldPhase;
  readonly end?: ReportedEnd;
  /** Milliseconds since it happened, on the agent's monotonic clock. */
  readonly ageMs: number;
}

export interface Heartbeat {
  readonly cpuUsedMillis: number;
  readonly memoryUsedMiB: number;
  readonly diskFreeMiB: number;
  /** The agent's wall clock, shown as an offset and never used to decide anything (P10). */
  readonly sentAt: number;
  readonly load: number;
  /** As of the agent's last look; absent where it has none. */
  readonly gpus?: readonly GpuSample[];
  /** Attempts whose command cannot start yet, at most `WIRE_LIMITS.maxPreparing`; absent when there are none. */
  readonly preparing?: readonly AttemptPreparation[];
}

/** What a device is doing, in whole units; what is not known of it is absent. */
export interface GpuSample {
  readonly index: number;
  readonly utilizationPercent?: number;
  readonly memoryUsedMiB?: number;
  readonly temperatureC?: number;
  readonly powerWatts?: number;
}

export type LogStream = 'stdout' | 'stderr';

export interface LogChunk {
  readonly allocationId: AllocationId;
  readonly stream: LogStream;
  readonly offset: number;
  readonly bytes: Uint8Array;
  /** The stream ends after these bytes. */
  readonly last: boolean;
  /** Milliseconds since the agent first read the first of them, on its monotonic clock; absent: just now. */
  readonly ageMs?: number;
  /** So many bytes right before `offset` are gone from the node; absent: none. */
  readonly missingBytes?: number;
}

/**
 * Where a stream stands at the coordinator. An answer that brings the agent no further than one before it asks to go
 * back: what was sent from there on has not been taken. The same answer is not repeated for each chunk on its way.
 */
export interface LogAck {
  readonly allocationId: AllocationId;
  readonly stream: LogStream;
  /** The coordinator has the stream on disk up to here. */
  readonly offset: number;
  readonly complete: boolean;
}
