import type { RetryableEnd } from '../outcome.js';
import type { InputSpec, OutputSpec, VolumeMount } from './staging-spec.js';

/**
 * A job specification in its canonical form: every default filled in, every quantity in one spelling.
 *
 * `berth run -- cmd`, a YAML file and a script with directives all become this; it is what the log keeps and what
 * the API returns. The input form (units, shorthands, omissions) is in `parse.ts`, its JSON Schema in `schema.ts`.
 */
export interface JobSpec {
  readonly name: string;
  readonly namespace: string;
  /** Higher goes first. -1000 to 1000, 0 by default. */
  readonly priority: number;
  readonly labels: Readonly<Record<string, string>>;
  /** In dependency order: a step comes after every step that it needs. */
  readonly steps: readonly StepSpec[];
  /** Accept the job even if no present node could ever hold it. */
  readonly allowFutureNodes: boolean;
  /** Submit held: nothing starts until it is released. */
  readonly hold: boolean;
}

export type DriverName = 'process' | 'docker';

/** A remote batch system, as jobs name it. */
export type TargetName = `hpc/${string}`;

/** Where tasks may run: any node of this cluster, the nodes of one pool, or a remote batch system. */
export type PlaceName = 'cluster' | `pool/${string}` | TargetName;

/** What decides between several of them. */
export const PREFERENCES = ['time', 'price'] as const;
export type Preference = (typeof PREFERENCES)[number];

export interface StepSpec {
  readonly name: string;
  /** Names of steps that must succeed first. */
  readonly needs: readonly string[];
  /** Task indexes in range notation, ascending and disjoint: `0`, `1-100`, `1-9:2,20`. */
  readonly array: string;
  readonly driver: DriverName;
  /** Where its tasks may run, one of them or several to choose from; absent: on any node of this cluster. */
  readonly targets?: readonly PlaceName[];
  /** Decides between several targets; absent: the time, or the price where there is a deadline. */
  readonly prefer?: Preference;
  /** It is to be done this long after its job was submitted; with several targets only. */
  readonly deadlineMs?: number;
  /** Container image; only with `driver: docker`. */
  readonly image: string | null;
  /** How its container differs from the node's usual one; absent when it does not. */
  readonly container?: ContainerSpec;
  readonly run: RunSpec;
  readonly env: Readonly<Record<string, string>>;
  /** Absent when there are none. */
  readonly secrets?: readonly SecretUse[];
  /** Whom the node runs it as, if it may; absent: as the node has it. */
  readonly user?: string;
  /** Absolute path; a fresh directory of the attempt's own when null. */
  readonly workdir: string | null;
  readonly resources: ResourceSpec;
  /** The task has its node to itself; its resources are then the least that the node must have. Absent when it shares. */
  readonly exclusive?: true;
  /** All must hold. */
  readonly constraints: readonly Constraint[];
  /** How many of its tasks are placed at once; absent when nothing limits them. */
  readonly maxParallel?: number;
  /** Its tasks are ranks that start together or not at all, and are tried again together; absent when they are not. */
  readonly gang?: true;
  readonly timeLimitMs: number | null;
  readonly retry: RetrySpec;
  readonly stop: StopSpec;
  /** How a task is asked to go when it will be tried again; absent when that is as `stop` says. */
  readonly checkpoint?: StopSpec;
  /** What is kept of each of a task's output streams; absent for as much as the coordinator keeps. */
  readonly logLimitMiB?: number;
  /** Absent when there are none, as the two below. */
  readonly inputs?: readonly InputSpec[];
  readonly outputs?: readonly OutputSpec[];
  readonly volumes?: readonly VolumeMount[];
}

/** Every field is absent when it is as usual. */
export interface ContainerSpec {
  /** `UID`, `UID:GID` or names that the image knows; the image's own when absent. */
  readonly user?: string;
  readonly readOnly?: true;
  /** Absolute paths that are in memory, empty at the start. */
  readonly tmpfs?: readonly string[];
  readonly shmMiB?: number;
  /** The node says which when absent; `host` only where its operator allows it. */
  readonly network?: ContainerNetwork;
  readonly pidsLimit?: number;
  /** Capabilities to keep; all others are dropped. */
  readonly capAdd?: readonly string[];
  /** `missing` when absent. */
  readonly pull?: PullPolicy;
  /** The command is passed to the image's entry point instead of replacing it. */
  readonly entrypoint?: 'image';
}

export const CONTAINER_NETWORKS = ['none', 'bridge', 'host'] as const;
export type ContainerNetwork = (typeof CONTAINER_NETWORKS)[number];

/** `newer`: the registry's if it can be had, else the node's. */
export const PULL_POLICIES = ['missing', 'newer', 'always', 'never'] as const;
export type PullPolicy = (typeof PULL_POLICIES)[number];

/** What runs: an argument vector, never re-joined into a shell string; or a script with its `#!` line. */
export type RunSpec =
  | { readonly kind: 'command'; readonly argv: readonly string[] }
  | { readonly kind: 'script'; readonly script: string; readonly args: readonly string[] };

/** A secret of the job's namespace and what a task finds it as: a variable, a file, or both; one of them is there. */
export interface SecretUse {
  readonly name: string;
  readonly env?: string;
  /** Its name in the folder that BERTH_SECRETS_DIR says. */
  readonly file?: string;
}

export interface ResourceSpec {
  readonly cpuMillis: number;
  /** Its CPUs, whole ones then, are named cores that no other pinned task has. Absent when any cores will do. */
  readonly pinCpus?: true;
  readonly memoryMiB: number;
  readonly diskMiB: number;
  readonly gpus: GpuSpec | null;
  /** Counted licences, cluster-wide: so many of each while the task holds its node. Absent when there are none. */
  readonly licences?: Readonly<Record<string, number>>;
}

export interface GpuSpec {
  readonly count: number;
  /** Parts of model names, any of which will do: sorted when there are several; null for any model. */
  readonly model: string | readonly string[] | null;
  readonly minMemoryMiB: number | null;
  /** Thousandths of the one device, below a whole one; absent when devices are not shared by share. */
  readonly shareMillis?: number;
  /** Memory to hold of each device; absent when devices are not shared by memory. */
  readonly memoryMiB?: number;
  /** The profile of MIG slices to take, such as `1g.5gb`, in lower case; absent for devices that are no slices. */
  readonly mig?: string;
}

/** A condition on a node: `label:zone = eu`, `arch = x64`. */
export interface Constraint {
  /** `label:KEY` for a label, else a node attribute (see the README's list). */
  readonly key: string;
  readonly op: ConstraintOp;
  readonly values: readonly string[];
}

export type ConstraintOp = 'in' | 'not-in' | 'exists' | 'absent';

export interface RetrySpec {
  /** 1 means: never a second attempt while the first might still run (P4). */
  readonly maxAttempts: number;
  /** Delay before the second attempt; doubles with each further one, up to MAX_BACKOFF_MS. */
  readonly backoffMs: number;
  readonly on: readonly RetryableEnd[];
}

export interface StopSpec {
  readonly signal: string;
  readonly graceMs: number;
}

/** Named limits of a job; each has its own error message. */
export const SPEC_LIMITS = {
  maxSpecBytes: 1024 * 1024,
  maxSteps: 1_000,
  maxTasksPerStep: 1_000_000,
  maxGangSize: 1_024,
  maxArgs: 4_096,
  maxArgBytes: 128 * 1024,
  maxEnvEntries: 1_024,
  maxSecrets: 64,
  maxLabels: 64,
  maxTargets: 16,
  maxConstraints: 64,
  maxGpus: 1_024,
  maxGpuModels: 32,
  maxAttempts: 100,
  maxLicences: 64,
  maxLicenceCount: 1_000_000,
  maxGraceMs: 60 * 60 * 1000,
  maxTimeLimitMs: 366 * 24 * 60 * 60 * 1000,
  maxCpuMillis: 1_000_000_000,
  /** 1 PiB: of memory, of disk, of a GPU's memory. The wire's fields have 32 bits. */
  maxMiB: 1024 ** 3,
  /** Of a label's or constraint's value and a GPU's model. */
  maxValueLength: 256,
  /** Of a path or an image reference. */
  maxPathLength: 4_096,
  maxUserLength: 32,
  maxConstraintValues: 64,
  maxTmpfs: 64,
  maxCapabilities: 64,
  /** What Linux can count at most. */
  maxPids: 4_194_304,
} as const;

export const MAX_BACKOFF_MS = 60 * 60 * 1000;

export const SPEC_DEFAULTS = {
  namespace: 'default',
  priority: 0,
  cpuMillis: 1_000,
  memoryMiB: 512,
  diskMiB: 0,
  /** A lost node costs no task: it is requeued, twice at most. A command's own failure is final unless asked. */
  retry: { maxAttempts: 3, backoffMs: 5_000, on: ['rejected', 'lost'] },
  stop: { signal: 'SIGTERM', graceMs: 30_000 },
} as const satisfies {
  namespace: string;
  priority: number;
  cpuMillis: number;
  memoryMiB: number;
  diskMiB: number;
  retry: RetrySpec;
  stop: StopSpec;
};
