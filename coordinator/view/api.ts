import type { Preparation } from '../../shared/preparation.js';
import type { Usage } from '../../shared/usage.js';

/** The documents of the HTTP interface, as far as the client reads them. Times are RFC 3339, durations milliseconds. */
export interface Counts {
  readonly blocked: number;
  readonly queued: number;
  readonly placed: number;
  readonly succeeded: number;
  readonly failed: number;
  readonly canceled: number;
  readonly dropped: number;
}

export interface JobView {
  readonly id: string;
  readonly name: string;
  readonly namespace: string;
  readonly priority: number;
  readonly labels: Readonly<Record<string, string>>;
  readonly state: 'held' | 'active' | 'canceling' | 'finished';
  readonly outcome: 'succeeded' | 'failed' | 'canceled' | null;
  readonly reason: string | null;
  /** The highest exit code of its tasks, once it is finished. */
  readonly exitCode: number | null;
  readonly submittedAt: string;
  readonly submittedBy: string;
  readonly startedAt: string | null;
  readonly finishedAt: string | null;
  readonly counts: Counts;
  readonly taskCount: number;
  readonly steps: readonly StepView[];
  readonly waitingReason: string | null;
}

export interface StepView {
  readonly name: string;
  readonly needs: readonly string[];
  readonly array: string;
  readonly state: 'blocked' | 'queued' | 'running' | 'finished';
  readonly counts: Counts;
}

export interface TaskView {
  readonly id: string;
  readonly jobId: string;
  readonly step: string;
  readonly index: number;
  readonly state: 'blocked' | 'queued' | 'placed' | 'done';
  readonly outcome: { readonly kind: string } | null;
  readonly exitCode: number | null;
  readonly attempt: number;
  readonly node: string | null;
  readonly reason: string | null;
  readonly notBefore: string | null;
  /** Absent when nothing is in the way of its command, and from coordinators that do not tell. */
  readonly preparation?: Preparation;
  /** Where it stands at a remote batch system; absent for others. */
  readonly remote?: { readonly isWaiting: boolean; readonly message: string };
  readonly attempts?: readonly AttemptView[];
}

export interface AttemptView {
  readonly attempt: number;
  readonly allocationId: string;
  readonly node: string;
  readonly state: 'committed' | 'preparing' | 'running' | 'stopping' | 'ended';
  readonly end: AttemptEnd | null;
  readonly gpus: readonly number[];
  readonly queuedMs: number;
  readonly committedAt: string;
  readonly startedAt: string | null;
  readonly endedAt: string | null;
  readonly ranMs: number | null;
  readonly output: { readonly stdoutBytes: number; readonly stderrBytes: number } | null;
  readonly usage: Usage | null;
  readonly image: string | null;
  /** The remote job that it is, or is a task of. */
  readonly mirror?: { readonly remoteId: string | null; readonly nodes: string };
}

export interface AttemptEnd {
  readonly kind: string;
  readonly exitCode?: number;
  readonly signal?: string;
  readonly oom?: true;
  readonly reason?: string;
  readonly message?: string;
}

export interface Sizes {
  readonly cpuMillis: number;
  readonly memoryMiB: number;
  readonly diskMiB: number;
  readonly gpuCount: number;
}

export interface NodeView {
  readonly name: string;
  readonly state: string;
  readonly link: string;
  readonly intake: string;
  readonly reason: string | null;
  readonly version: string;
  readonly capacity: Sizes;
  readonly free: Sizes;
  readonly gpus: readonly NodeGpu[];
  readonly labels: Readonly<Record<string, string>>;
  readonly attributes: Readonly<Record<string, string>>;
  readonly drivers: readonly string[];
  /** Absent from coordinators that know of none. */
  readonly volumes?: readonly { readonly name: string; readonly writable: boolean }[];
  readonly allocations: number;
  /** Some of these; absent, as the next, from coordinators that do not tell. */
  readonly running?: readonly string[];
  /** When what a draining node still runs is stopped. */
  readonly deadlineAt?: string | null;
  readonly usage: NodeUsage | null;
  /** The rented machine that it runs on; absent from coordinators that rent none. */
  readonly machine?: { readonly id: string; readonly pool: string; readonly phase: string } | null;
  readonly registeredAt: string;
  readonly since: string;
}

export interface NodeGpu {
  readonly index: number;
  readonly uuid: string;
  readonly model: string;
  readonly memoryMiB: number;
  readonly mig?: string;
  readonly fault?: string;
  readonly allocationId: string | null;
  readonly sample?: GpuSample;
}

export interface GpuSample {
  readonly utilizationPercent?: number;
  readonly memoryUsedMiB?: number;
  readonly temperatureC?: number;
  readonly powerWatts?: number;
}

export interface NodeUsage {
  readonly cpuUsedMillis: number;
  readonly memoryUsedMiB: number;
  readonly diskFreeMiB: number;
  readonly load: number;
  readonly clockOffsetMs: number;
}

export interface WhyView {
  readonly job: string;
  readonly phase: string;
  readonly waiting: readonly WaitingTasks[];
  readonly routes: readonly Route[];
}

/** Which of its targets a step goes to. */
export interface Route {
  readonly step: string;
  readonly target: string;
  readonly because: string;
  readonly at: string;
  readonly alternatives: readonly Alternative[];
}

export interface Alternative {
  readonly target: string;
  readonly startAt: string | null;
  readonly pricePerHour: number;
  readonly ground: string;
}

export interface WaitingTasks {
  readonly step: string;
  /** Range text: `1-100`. */
  readonly tasks: string;
  readonly count: number;
  readonly reason: {
    readonly code: string;
    readonly message: string;
    readonly details?: { readonly nodeClasses?: readonly NodeClassReason[]; readonly nodeClassCount?: number };
  };
}

/** Why nodes of one kind do not take a task. */
export interface NodeClassReason {
  /** A node of the kind. */
  readonly example: string;
  readonly nodeCount: number;
  /** As the end of "n1: ...". */
  readonly message: string;
}

export interface WhenView {
  readonly job: string;
  readonly phase: string;
  readonly steps: readonly WhenStep[];
  /** When this was estimated. */
  readonly at: string;
}

export interface WhenStep {
  readonly step: string;
  readonly waiting: number;
  readonly ground: 'now' | 'reservation' | 'machine' | 'behind' | 'remote' | 'reason' | 'unknown';
  readonly startAt: string | null;
  readonly node: string | null;
  readonly message: string;
  /** Where its waiting tasks go; null where there is nothing to choose. */
  readonly target: string | null;
  /** As its targets are now. */
  readonly alternatives: readonly Alternative[];
}

export interface RehearsalView {
  readonly taskCount: number;
  readonly placedCount: number;
  readonly steps: readonly RehearsedStep[];
}

export interface RehearsedStep {
  readonly step: string;
  readonly taskCount: number;
  readonly placedCount: number;
  readonly nodes: readonly { readonly node: string; readonly taskCount: number }[];
  readonly reason: { readonly code: string; readonly message: string } | null;
  readonly route: Route | null;
}

/** Thousandths of GPUs that are free, and of these what GPU tasks cannot use, by what keeps it from them. */
export interface Stranded {
  readonly freeMillis: number;
  readonly strandedMillis: number;
  readonly byCause: Readonly<Record<'cpu' | 'memory' | 'disk' | 'pieces' | 'unfit', number>>;
}

export interface FragmentationView extends Stranded {
  readonly basis: 'tasks' | 'whole-gpu';
  readonly demandCount: number;
  readonly nodes: readonly (Stranded & { readonly node: string })[];
}

/** A secret; its value is never told. */
export interface SecretView {
  readonly namespace: string;
  readonly name: string;
  readonly setAt: string;
  readonly setBy: string;
}

export interface JobPage {
  readonly jobs: readonly JobView[];
  readonly nextCursor: string | null;
}

export interface TaskPage {
  readonly tasks: readonly TaskView[];
  readonly nextCursor: string | null;
}

/** A file that a task left. */
export interface OutputFile {
  readonly task: string;
  readonly attempt: number;
  readonly path: string;
  readonly sha256: string;
  readonly sizeBytes: number;
}

export interface OutputFilePage {
  readonly outputs: readonly OutputFile[];
  readonly nextCursor: string | null;
}

export type OutputStreamName = 'stdout' | 'stderr';

/** One line of a job's output stream: a piece of one attempt's stdout or stderr, and where it belongs. */
export interface OutputChunk {
  readonly task: string;
  readonly attempt: number;
  readonly stream: OutputStreamName;
  readonly offset: number;
  /** When it came, by the coordinator's clock. */
  readonly at?: string;
  readonly text?: string;
  readonly base64?: string;
  /** A gap of so many bytes instead of a piece. */
  readonly missingBytes?: number;
}

export interface EventView {
  readonly seq: number;
  readonly at: string;
  readonly type: string;
  readonly [field: string]: unknown;
}
