import { parseArgs } from 'node:util';
import { applyEvent } from '../../coordinator/model/apply.js';
import { type BerthEvent, EVENT_VERSION } from '../../coordinator/model/events.js';
import { type ClusterState, emptyState } from '../../coordinator/model/state.js';
import { Placer } from '../../coordinator/scheduler/placer.js';
import { DEFAULT_PLAN_POLICY, plan } from '../../coordinator/scheduler/plan.js';
import { jobIdOf, type NodeId } from '../../shared/ids.js';
import type { JobSpec, StepSpec } from '../../shared/job-spec/spec.js';
import type { Inventory } from '../../shared/wire/messages.js';
import { anInventory, gpus, oneStep } from '../kit/builders.js';
import { rounded, say } from './figures.js';

const DEMAND_CLASSES = 60;
const TASKS_PER_JOB = 50;
const PRIORITIES = 5;
const USERS = 8;

/**
 * Plans a long queue from empty, as the engine does: batch by batch, each committed before the next is planned.
 *
 * Only planning is timed; the board is made, and kept in step with the view, within it.
 */
export async function planning(args: string[]): Promise<object> {
  const options = {
    tasks: { type: 'string', default: '100000' },
    nodes: { type: 'string', default: '500,5000,50000' },
  };
  const { values } = parseArgs({ args, options: options as { [Name in keyof typeof options]: { type: 'string' } } });
  const taskCount = Number(values.tasks ?? options.tasks.default);
  // Once unmeasured, so that every size is measured on compiled code.
  measure(200, 20_000);
  const sizes = (values.nodes ?? options.nodes.default).split(',').map((count) => measure(Number(count), taskCount));
  return { taskCount, demandClasses: DEMAND_CLASSES, sizes };
}

function measure(nodeCount: number, taskCount: number): object {
  const state = emptyState();
  for (let node = 0; node < nodeCount; node += 1) fold(state, registered(node));
  for (let job = 1; job <= taskCount / TASKS_PER_JOB; job += 1) fold(state, submitted(job));
  const placer = new Placer();
  let placed = 0;
  let plannedMs = 0;
  let longestMs = 0;
  const began = performance.now();
  for (let isPartial = true; isPartial; ) {
    const startedAt = performance.now();
    const made = plan(state, DEFAULT_PLAN_POLICY, 0, placer);
    const tookMs = performance.now() - startedAt;
    plannedMs += tookMs;
    longestMs = Math.max(longestMs, tookMs);
    placed += made.placements.length;
    isPartial = made.isPartial;
    for (const placement of made.placements) fold(state, { type: 'allocation.committed', ...placement });
  }
  const totalMs = performance.now() - began;
  say(`${nodeCount} nodes: ${placed} placed in ${rounded(plannedMs)} ms`);
  return {
    nodes: nodeCount,
    placed,
    plannedMs: rounded(plannedMs),
    longestPlanMs: rounded(longestMs),
    placementsPerSecond: Math.round((1000 * placed) / plannedMs),
    microsPerPlacement: rounded((1000 * plannedMs) / placed, 2),
    withCommitsPerSecond: Math.round((1000 * placed) / totalMs),
  };
}

function fold(state: ClusterState, event: BerthEvent): void {
  applyEvent(state, { seq: state.lastSeq + 1, at: 0, version: EVENT_VERSION, event });
}

function registered(node: number): BerthEvent {
  const nodeId = `node-${String(node).padStart(6, '0')}` as NodeId;
  return {
    type: 'node.registered',
    nodeId,
    identity: nodeId,
    version: '',
    bootId: '',
    inventory: KINDS[node % KINDS.length] ?? anInventory(),
  };
}

function submitted(sequence: number): BerthEvent {
  return {
    type: 'job.submitted',
    jobId: jobIdOf(sequence),
    sequence,
    spec: jobOf(sequence),
    by: `u${sequence % USERS}`,
  };
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

function jobOf(sequence: number): JobSpec {
  const demand = sequence % DEMAND_CLASSES;
  const parts: Parameters<typeof oneStep>[0] = {
    array: `0-${TASKS_PER_JOB - 1}`,
    resources: {
      cpuMillis: 250 * (1 + (demand % 7)),
      memoryMiB: 512 * (1 + (demand % 11)),
      gpus: gpusOf(demand),
    },
    constraints: demand % 6 === 5 ? [{ key: 'label:zone', op: 'in', values: ['b'] }] : [],
  };
  return oneStep(parts, { priority: sequence % PRIORITIES });
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
