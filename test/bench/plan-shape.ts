import { applyEvent } from '../../coordinator/model/apply.js';
import { type BerthEvent, EVENT_VERSION } from '../../coordinator/model/events.js';
import { type ClusterState, emptyState } from '../../coordinator/model/state.js';
import { present } from '../../shared/assert.js';
import type { EpochMs } from '../../shared/clock.js';
import { allocationIdOf, jobIdOf, type NodeId } from '../../shared/ids.js';
import type { JobSpec, StepSpec } from '../../shared/job-spec/spec.js';
import type { Inventory } from '../../shared/wire/messages.js';
import { anInventory, gpus, oneStep } from '../kit/builders.js';

export const DEMAND_CLASSES = 60;
/** The present of every plan. */
export const NOW: EpochMs = 20_000_000;
const TASKS_PER_JOB = 50;
const PRIORITIES = 5;
const NAMESPACES = 4;
const USERS = 8;
const MINUTE_MS = 60_000;
const RUNNING_LIMIT_MS = 240 * MINUTE_MS;
/** What runs on the nodes ends at so many different times, a second apart, from 73 minutes on. */
const ENDS = 10_007;

/** What runs on every node already: little, and for hours. */
const RUNNING: Parts = { resources: { cpuMillis: 2_000, memoryMiB: 4_096 }, timeLimitMs: RUNNING_LIMIT_MS };
/** First in the queue, and it needs a whole node: none is free before what runs there has ended. */
const HEAD: Parts = {
  resources: { cpuMillis: 96_000, memoryMiB: 65_536, gpus: { count: 8, model: 'a100', minMemoryMiB: null } },
  timeLimitMs: 60 * MINUTE_MS,
};
/** Of those behind it, a third is gone in time and may pass it anywhere; the others may not where they would delay it. */
const TIME_LIMITS_MS = [10 * MINUTE_MS, null, 600 * MINUTE_MS] as const;

type Parts = NonNullable<Parameters<typeof oneStep>[0]>;

/** A cluster on whose every node something runs, the head of its queue and so many tasks behind that. */
export function crowded(nodeCount: number, taskCount: number): ClusterState {
  const state = emptyState();
  for (let node = 0; node < nodeCount; node += 1) fold(state, registered(node), 0);
  submit(state, oneStep({ ...RUNNING, array: `0-${nodeCount - 1}` }), 'u0');
  for (let node = 0; node < nodeCount; node += 1) run(state, node);
  submit(state, oneStep(HEAD, { priority: PRIORITIES }), 'u0');
  for (let job = 0; job < taskCount / TASKS_PER_JOB; job += 1) submit(state, jobOf(job), `u${job % USERS}`);
  return state;
}

export function fold(state: ClusterState, event: BerthEvent, at: EpochMs): void {
  applyEvent(state, { seq: state.lastSeq + 1, at, version: EVENT_VERSION, event });
}

function submit(state: ClusterState, spec: JobSpec, by: string): void {
  const sequence = state.nextJobSequence;
  fold(state, { type: 'job.submitted', jobId: jobIdOf(sequence), sequence, spec, by }, 0);
}

/** The running job's task of the node's number started some time ago. */
function run(state: ClusterState, node: number): void {
  const allocationId = allocationIdOf({ jobId: jobIdOf(1), step: 'main', index: node, attempt: 1 });
  const at = NOW - 1_000 * ((node * 7_919) % ENDS);
  fold(state, { type: 'allocation.committed', allocationId, nodeId: nodeIdOf(node), gpus: [] }, at);
  fold(state, { type: 'allocation.started', allocationId, startedAt: at }, at);
}

function nodeIdOf(node: number): NodeId {
  return `node-${String(node).padStart(6, '0')}` as NodeId;
}

function registered(node: number): BerthEvent {
  const nodeId = nodeIdOf(node);
  const inventory = present(KINDS[node % KINDS.length], 'kind of node');
  return { type: 'node.registered', nodeId, identity: nodeId, version: '', bootId: '', inventory };
}

/** Every fifth node without GPUs; the others with two to eight of three models. */
const KINDS: readonly Inventory[] = [
  kind({ cpus: 64, memoryGiB: 256, labels: { zone: 'a' } }),
  kind({ cpus: 96, memoryGiB: 384, gpuCount: 8, model: 'NVIDIA A100-SXM4-80GB', labels: { zone: 'a' } }),
  kind({ cpus: 96, memoryGiB: 384, gpuCount: 8, model: 'NVIDIA A100-SXM4-80GB', labels: { zone: 'b' } }),
  kind({ cpus: 104, memoryGiB: 512, gpuCount: 2, model: 'Tesla T4', labels: { zone: 'b', ssd: 'yes' } }),
  kind({ cpus: 32, memoryGiB: 128, gpuCount: 4, model: 'Tesla V100', labels: { zone: 'a' } }),
];

function kind(parts: {
  readonly cpus: number;
  readonly memoryGiB: number;
  readonly gpuCount?: number;
  readonly model?: string;
  readonly labels: Readonly<Record<string, string>>;
}): Inventory {
  const memoryMiB = parts.model?.includes('A100') ? 81_920 : 16_384;
  return anInventory({
    capacity: { cpuMillis: parts.cpus * 1_000, memoryMiB: parts.memoryGiB * 1_024, diskMiB: 1_000_000 },
    gpus: gpus(parts.gpuCount ?? 0, { model: parts.model ?? '', memoryMiB }).map((device, index) => ({
      ...device,
      index,
    })),
    labels: parts.labels,
  });
}

function jobOf(job: number): JobSpec {
  const demand = job % DEMAND_CLASSES;
  const parts: Parts = {
    array: `0-${TASKS_PER_JOB - 1}`,
    resources: {
      cpuMillis: 250 * (1 + (demand % 7)),
      memoryMiB: 512 * (1 + (demand % 11)),
      gpus: gpusOf(demand),
    },
    constraints: demand % 6 === 5 ? [{ key: 'label:zone', op: 'in', values: ['b'] }] : [],
    // Not in step with anything else that goes by the number.
    timeLimitMs: TIME_LIMITS_MS[Math.floor(job / 7) % TIME_LIMITS_MS.length] ?? null,
  };
  return oneStep(parts, { priority: job % PRIORITIES, namespace: `ns${Math.floor(job / 3) % NAMESPACES}` });
}

/** A third without GPUs, a third with a share of one, the rest with whole ones, by model or memory now and then. */
function gpusOf(demand: number): StepSpec['resources']['gpus'] {
  if (demand % 3 === 0) return null;
  const one = { count: 1, model: null, minMemoryMiB: null };
  if (demand % 3 === 1) return { ...one, shareMillis: 50 * (1 + (demand % 13)) };
  if (demand % 9 === 2) return { ...one, count: 2 };
  if (demand % 9 === 5) return { ...one, model: 'a100' };
  return demand % 2 === 0 ? { ...one, memoryMiB: 6_000 } : one;
}
