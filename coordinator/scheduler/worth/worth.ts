import { gpuMillisOn, gpuWorthMillis, isEligibleGpu, WHOLE_GPU_MILLIS } from '../../../shared/resources.js';
import type { DemandClass } from '../../model/demand.js';
import { obstacleTo } from '../../model/feasible.js';
import type { TaskMix } from '../../model/mix.js';
import type { NodeClass } from '../../model/node.js';
import type { SizeCount } from './prices.js';
import { type Pricing, type ResidualWorth, UNKNOWN_SIZES } from './pricing.js';
import { Served } from './served.js';

/** Nodes of one class, by number: what a mix is served with. */
export type Supply = ReadonlyMap<NodeClass, number>;

/** What the worth of a node is read from. */
export interface Holding {
  readonly cpuMillis: number;
  readonly memoryMiB: number;
  /** Sum of the worth of its devices' free parts, in whole devices. */
  readonly units: number;
  /** Devices that nothing holds, of all that it has. */
  readonly wholeCount: number;
  readonly deviceCount: number;
}

/**
 * The terms of a node's worth beside the price of its devices, in whole devices.
 *
 * Found on arrivals with and without departures together: with more weight on whole nodes, machines with much CPU are
 * used up early by tasks that need little; with less, departures leave no node that is wholly free.
 */
const TERMS = {
  /** Of what CPU and memory cannot serve, so much is lost. */
  shortfall: 0.87,
  /**
   * Whole devices that are together on a node of eight, for each of the eight, times the root of the share of demand that
   * asks for several: what is to be kept for a demand that comes by chance grows with its root.
   */
  together: 1.26,
  /** Above 1: the devices of a node that is nearly free are worth more than as many on several nodes. */
  togetherPower: 1.2,
  /** What a node can hold of tasks with several devices, times their share of demand. */
  several: 0.045,
  /** Scarcity of devices that constrained tasks insist on. */
  insisted: 0.3,
} as const;

/** Devices of one node beyond which the terms for whole ones no longer grow. */
const MAX_DEVICES = 64;

/** While nothing is known: 8 CPUs and 32 GiB a device. */
const UNKNOWN_RATIOS = { cpu: [{ ratio: 8_000, weight: 1 }], memory: [{ ratio: 32_768, weight: 1 }] } as const;

/** What free capacity can still sell for, given what tasks are asked for; a task goes where worth drops least. */
export class Worth {
  /** What of one device tasks ask for; the prices are for these sizes. */
  readonly sizes: readonly SizeCount[];
  /** Of a device, by its free thousandths. */
  readonly residual: ResidualWorth;
  readonly #cpu: Served;
  readonly #memory: Served;
  readonly #wholes: readonly Float64Array[];
  readonly #scarcity: ReadonlyMap<NodeClass, number>;

  constructor(mix: TaskMix, supply: Supply, pricing: Pricing) {
    const lines = gpuLines(mix, supply);
    const ratios = lines.length > 0 ? { cpu: lines.map(cpuRatio), memory: lines.map(memoryRatio) } : UNKNOWN_RATIOS;
    this.#cpu = new Served(ratios.cpu);
    this.#memory = new Served(ratios.memory);
    const whole = lines.filter(({ isOfSlices }) => !isOfSlices);
    const sizes = whole.filter((line) => line.count === 1).map((line) => ({ millis: line.millis, weight: line.tasks }));
    this.sizes = whole.length > 0 ? merged(sizes) : UNKNOWN_SIZES;
    this.residual = pricing.of(this.sizes);
    this.#wholes = wholesOf(whole);
    this.#scarcity = scarcityOf(lines, supply);
  }

  /** From 1 upwards: how much more a node of the class is worth for those who can go nowhere else. */
  factorOf(nodeClass: NodeClass): number {
    return this.#scarcity.get(nodeClass) ?? 1;
  }

  /** What a node with so many whole devices loses when one of them is no longer whole, beside what it sells for. */
  ofOneWhole(wholeCount: number, deviceCount: number): number {
    if (wholeCount <= 0 || wholeCount > MAX_DEVICES) return 0;
    const wholes = this.#wholes[Math.min(deviceCount, MAX_DEVICES)] as Float64Array;
    return (wholes[wholeCount] as number) - (wholes[wholeCount - 1] as number);
  }

  /** What the node can still sell for, before its class's factor. */
  ofNode(holding: Holding): number {
    const { units } = holding;
    if (units <= 0) return 0;
    const served = Math.min(this.#cpu.at(holding.cpuMillis / units), this.#memory.at(holding.memoryMiB / units));
    const wholes = this.#wholes[Math.min(holding.deviceCount, MAX_DEVICES)] as Float64Array;
    const kept = wholes[Math.min(holding.wholeCount, MAX_DEVICES)] as number;
    return units * (1 - TERMS.shortfall * (1 - served)) + kept;
  }
}

/** One demand of the mix, as its devices see it. */
interface GpuLine {
  readonly demand: DemandClass;
  readonly tasks: number;
  readonly count: number;
  /** Of each device, on the average device that could serve it. */
  readonly millis: number;
  /** GPU demand of all its tasks, in whole devices. */
  readonly units: number;
  /** Its devices are MIG slices, which are no part of what is sold in shares or by several. */
  readonly isOfSlices: boolean;
  /** Node classes that could hold it, with their devices. */
  readonly open: ReadonlySet<NodeClass>;
}

/** What asks for GPUs and could run here. Cost: O(demands x node classes). */
function gpuLines(mix: TaskMix, supply: Supply): GpuLine[] {
  const lines: GpuLine[] = [];
  for (const [demand, tasks] of mix) {
    const { gpus } = demand;
    if (gpus === null) continue;
    const open = new Set<NodeClass>();
    let devices = 0;
    let millis = 0;
    for (const [nodeClass, nodeCount] of supply) {
      if (nodeClass.gpus.length === 0 || obstacleTo(demand, nodeClass)) continue;
      open.add(nodeClass);
      for (const device of nodeClass.gpus) {
        if (!isEligibleGpu(device, gpus)) continue;
        devices += nodeCount;
        millis += nodeCount * (gpus.mig === undefined ? gpuMillisOn(device, gpus) : gpuWorthMillis(device));
      }
    }
    if (devices === 0) continue;
    const each = Math.ceil(millis / devices);
    lines.push({
      demand,
      tasks,
      count: gpus.count,
      millis: each,
      units: (tasks * gpus.count * each) / WHOLE_GPU_MILLIS,
      isOfSlices: gpus.mig !== undefined,
      open,
    });
  }
  return lines;
}

const cpuRatio = ({ demand, tasks, units }: GpuLine) => ({
  ratio: (demand.resources.cpuMillis * tasks) / units,
  weight: units,
});

const memoryRatio = ({ demand, tasks, units }: GpuLine) => ({
  ratio: (demand.resources.memoryMiB * tasks) / units,
  weight: units,
});

function merged(sizes: readonly SizeCount[]): SizeCount[] {
  const weights = new Map<number, number>();
  for (const { millis, weight } of sizes) weights.set(millis, (weights.get(millis) ?? 0) + weight);
  return [...weights].map(([millis, weight]) => ({ millis, weight }));
}

/** The worth of keeping so many of a node's devices whole, by the devices that it has and those that are whole. */
function wholesOf(lines: readonly GpuLine[]): readonly Float64Array[] {
  const total = lines.reduce((sum, { units }) => sum + units, 0);
  const ofMany = lines.reduce((sum, { count, units }) => sum + (count > 1 ? units : 0), 0);
  const root = total > 0 ? Math.sqrt(ofMany / total) : 0;
  const several = Array.from({ length: MAX_DEVICES + 1 }, (_, count) =>
    total > 0 ? (TERMS.several * severalOn(lines, count)) / total : 0,
  );
  return Array.from({ length: MAX_DEVICES + 1 }, (_, devices) => {
    // Larger nodes count for a little more: only they can hold the largest tasks.
    const together = TERMS.together * root * devices * (devices / 8) ** 0.2;
    const ofCount = (_: number, count: number): number =>
      together * (Math.min(count, devices) / Math.max(1, devices)) ** TERMS.togetherPower + (several[count] ?? 0);
    return new Float64Array(MAX_DEVICES + 1).map(ofCount);
  });
}

/** Devices of so many that each demand for several could take, weighted by it. */
function severalOn(lines: readonly GpuLine[], wholeCount: number): number {
  let taken = 0;
  for (const { count, units } of lines) if (count > 1) taken += units * Math.floor(wholeCount / count) * count;
  return taken;
}

/** For each node class: what insists on classes like it, over what is open to that. */
function scarcityOf(lines: readonly GpuLine[], supply: Supply): ReadonlyMap<NodeClass, number> {
  const devicesOf = (classes: Iterable<NodeClass>): number => {
    let devices = 0;
    for (const nodeClass of classes) devices += nodeClass.gpus.length * (supply.get(nodeClass) ?? 0);
    return devices;
  };
  const all = devicesOf(supply.keys());
  const total = lines.reduce((sum, { units }) => sum + units, 0);
  const factors = new Map<NodeClass, number>();
  for (const { demand, units, open } of lines) {
    if (!isInsisting(demand)) continue;
    const scarcity = (TERMS.insisted * units * all) / (total * devicesOf(open));
    for (const nodeClass of open) factors.set(nodeClass, (factors.get(nodeClass) ?? 1) + scarcity);
  }
  return factors;
}

function isInsisting({ gpus, constraints }: DemandClass): boolean {
  return constraints.length > 0 || gpus?.model !== undefined || gpus?.minMemoryMiB !== undefined;
}
