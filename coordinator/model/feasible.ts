import { assertNever } from '../../shared/assert.js';
import { awayText } from '../../shared/driver-away.js';
import { constraintText } from '../../shared/job-spec/contradictions.js';
import type { Constraint } from '../../shared/job-spec/spec.js';
import {
  type GpuDemand,
  type GpuDevice,
  gpuMillisOn,
  isEligibleGpu,
  isWantedGpu,
  WHOLE_GPU_MILLIS,
} from '../../shared/resources.js';
import { cpusOf, formatMiB } from '../../shared/units.js';
import type { DemandClass } from './demand.js';
import { deviceWords, gpuWords } from './gpu-words.js';
import type { NodeClass } from './node.js';

/** What keeps an empty node of a class from ever holding a task of a demand. */
export type Obstacle =
  | { readonly kind: 'driver'; readonly driver: string }
  /** The node has the driver, and what it drives does not answer. */
  | { readonly kind: 'driver-away'; readonly driver: string; readonly away: string }
  /** Its pool gives it to one task at a time, and the task would share. */
  | { readonly kind: 'exclusive' }
  | { readonly kind: 'volume'; readonly volume: string; readonly lacks: 'all' | 'writing' }
  | { readonly kind: 'constraint'; readonly constraint: Constraint; readonly actual: string | undefined }
  | { readonly kind: Exclude<Dimension, 'gpu'>; readonly needed: number; readonly available: number }
  | GpuObstacle;

/** Too few devices of the wanted kind; `faultyCount` more are of it and out of use. */
export interface GpuObstacle {
  readonly kind: 'gpu';
  readonly wanted: GpuDemand;
  readonly available: number;
  readonly faultyCount: number;
  readonly devices: readonly GpuDevice[];
}

/** The dimensions in which a demand may exceed a node. GPUs count only devices of the wanted model and memory. */
export type Dimension = 'cpu' | 'memory' | 'disk' | 'gpu';

const LABEL_PREFIX = 'label:';

/** The first obstacle, or undefined when an empty node of the class could hold the task. Pure. Cost: O(constraints + GPUs). */
export function obstacleTo(demand: DemandClass, node: NodeClass): Obstacle | undefined {
  const { driver } = demand;
  const away = node.drivers.includes(driver) ? undefined : awayText(node.attributes, driver);
  if (away === undefined && !node.drivers.includes(driver)) return { kind: 'driver', driver };
  if (node.exclusive && !demand.exclusive) return { kind: 'exclusive' };
  const volume = volumeObstacle(demand, node);
  if (volume) return volume;
  for (const constraint of demand.constraints) {
    const actual = actualOf(constraint.key, node);
    if (!isMet(constraint, actual)) return { kind: 'constraint', constraint, actual };
  }
  const { resources: need } = demand;
  const { capacity } = node;
  if (need.cpuMillis > capacity.cpuMillis)
    return { kind: 'cpu', needed: need.cpuMillis, available: capacity.cpuMillis };
  if (need.memoryMiB > capacity.memoryMiB) {
    return { kind: 'memory', needed: need.memoryMiB, available: capacity.memoryMiB };
  }
  if (need.diskMiB > capacity.diskMiB) return { kind: 'disk', needed: need.diskMiB, available: capacity.diskMiB };
  return gpuObstacle(demand, node) ?? (away === undefined ? undefined : { kind: 'driver-away', driver, away });
}

/**
 * How many tasks of the demand an empty node of the class holds at once; 0 where it holds none. One whose driver is away
 * counts as if it were back. Pure.
 */
export function slotsOnEmpty(demand: DemandClass, node: NodeClass): number {
  const obstacle = obstacleTo(demand, node);
  if (obstacle && obstacle.kind !== 'driver-away') return 0;
  if (demand.exclusive) return 1;
  const { cpuMillis, memoryMiB, diskMiB } = demand.resources;
  const { capacity } = node;
  const byDisk = diskMiB === 0 ? Number.POSITIVE_INFINITY : Math.floor(capacity.diskMiB / diskMiB);
  const slots = Math.min(
    Math.floor(capacity.cpuMillis / cpuMillis),
    Math.floor(capacity.memoryMiB / memoryMiB),
    byDisk,
  );
  return demand.gpus === null ? slots : Math.min(slots, gpuSlots(demand.gpus, node));
}

interface Meeting {
  /** An empty node could hold a task now. */
  readonly couldHold: boolean;
  readonly slots: number;
}

/** Both kinds of class are interned and never change, so what is found of a pair stays true. */
const meetings = new WeakMap<NodeClass, WeakMap<DemandClass, Meeting>>();

/** `obstacleTo` and `slotsOnEmpty`, found once for each pair of classes. */
export function meetingOf(demand: DemandClass, node: NodeClass): Meeting {
  let known = meetings.get(node);
  if (!known) {
    known = new WeakMap();
    meetings.set(node, known);
  }
  let meeting = known.get(demand);
  if (!meeting) {
    meeting = { couldHold: obstacleTo(demand, node) === undefined, slots: slotsOnEmpty(demand, node) };
    known.set(demand, meeting);
  }
  return meeting;
}

/** A device holds so many parts; a task takes its parts of as many different devices as it asks for. */
function gpuSlots(demand: GpuDemand, { gpus }: NodeClass): number {
  const parts = gpus
    .filter((device) => isEligibleGpu(device, demand))
    .map((device) => Math.floor(WHOLE_GPU_MILLIS / gpuMillisOn(device, demand)));
  const holds = (tasks: number): boolean =>
    parts.reduce((sum, count) => sum + Math.min(count, tasks), 0) >= tasks * demand.count;
  let slots = Math.floor(parts.reduce((sum, count) => sum + count, 0) / demand.count);
  while (slots > 0 && !holds(slots)) slots -= 1;
  return slots;
}

function volumeObstacle(demand: DemandClass, node: NodeClass): Obstacle | undefined {
  for (const { name, writable } of demand.volumes ?? []) {
    const volume = node.volumes?.find((each) => each.name === name);
    if (!volume) return { kind: 'volume', volume: name, lacks: 'all' };
    if (writable && !volume.writable) return { kind: 'volume', volume: name, lacks: 'writing' };
  }
  return undefined;
}

function gpuObstacle({ gpus }: DemandClass, { gpus: devices }: NodeClass): GpuObstacle | undefined {
  if (gpus === null) return undefined;
  let available = 0;
  let faultyCount = 0;
  for (const device of devices) {
    if (!isWantedGpu(device, gpus)) continue;
    if (device.fault === undefined) available += 1;
    else faultyCount += 1;
  }
  return available < gpus.count ? { kind: 'gpu', wanted: gpus, available, faultyCount, devices } : undefined;
}

/** Would the obstacle go if what is out of use came back? */
export function isPassing(obstacle: Obstacle): boolean {
  if (obstacle.kind === 'driver-away') return true;
  return obstacle.kind === 'gpu' && obstacle.available + obstacle.faultyCount >= obstacle.wanted.count;
}

function actualOf(key: string, node: NodeClass): string | undefined {
  return key.startsWith(LABEL_PREFIX) ? node.labels[key.slice(LABEL_PREFIX.length)] : node.attributes[key];
}

function isMet(constraint: Constraint, actual: string | undefined): boolean {
  switch (constraint.op) {
    case 'in':
      return actual !== undefined && constraint.values.includes(actual);
    case 'not-in':
      return actual === undefined || !constraint.values.includes(actual);
    case 'exists':
      return actual !== undefined;
    case 'absent':
      return actual === undefined;
    default:
      return assertNever(constraint.op, 'constraint operator');
  }
}

/** The obstacle in words, as the end of "n1: ...". */
export function describeObstacle(obstacle: Obstacle): string {
  switch (obstacle.kind) {
    case 'driver':
      return `it has no ${obstacle.driver} driver`;
    case 'driver-away':
      return `its ${obstacle.driver} is ${obstacle.away}`;
    case 'exclusive':
      return 'its pool gives its nodes to one task at a time, which has to ask for one: --exclusive';
    case 'volume':
      return obstacle.lacks === 'all'
        ? `it has no volume "${obstacle.volume}"`
        : `its volume "${obstacle.volume}" is read-only there`;
    case 'constraint': {
      const { constraint, actual } = obstacle;
      return `wanted ${constraintText(constraint)}, ${constraint.key} is ${actual ?? 'not set'}`;
    }
    case 'cpu':
      return `needs ${cpusOf(obstacle.needed)} CPUs, it has ${cpusOf(obstacle.available)}`;
    case 'memory':
      return `needs ${formatMiB(obstacle.needed)} of memory, it has ${formatMiB(obstacle.available)}`;
    case 'disk':
      return `needs ${formatMiB(obstacle.needed)} of disk, it has ${formatMiB(obstacle.available)}`;
    case 'gpu':
      return `needs ${gpuWords(obstacle.wanted)}, it has ${deviceWords(obstacle.devices)}`;
    default:
      return assertNever(obstacle, 'obstacle');
  }
}
