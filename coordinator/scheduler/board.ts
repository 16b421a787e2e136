import { present } from '../../shared/assert.js';
import { type GpuDevice, gpuWorthMillis, type Resources, WHOLE_GPU_MILLIS } from '../../shared/resources.js';
import { freeOn } from '../model/hold.js';
import type { NodeUsage } from '../model/indexes.js';
import type { Node } from '../model/node.js';
import { type Fit, FitTable } from './fit.js';
import type { Worth } from './worth/worth.js';

/** A node's place on the board. */
export type Row = number;

/** What is free on a row at one moment. */
export interface RowState {
  readonly row: Row;
  readonly free: Resources;
  readonly gpuMillis: Int32Array;
}

/**
 * Free capacity of every usable node, in columns: the planner writes here and nowhere else.
 *
 * Rows are in the order of node ids, so that the order of a map decides nothing. Every change is noted in `changes`,
 * for those who keep something per row.
 */
export class Board {
  readonly nodes: readonly Node[];
  readonly fits = new FitTable();
  readonly cpuMillis: Float64Array;
  readonly memoryMiB: Float64Array;
  readonly diskMiB: Float64Array;
  /** Where a row's devices begin in `gpuMillis`; one more entry than rows. */
  readonly gpuStart: Int32Array;
  /** Free thousandths of every device, in the order of the inventories. */
  readonly gpuMillis: Int32Array;
  /** What each device is of a GPU, 1 unless it is a MIG slice, and 0 while it is out of use. */
  readonly gpuUnits: Float64Array;
  /** By row: its GPUs that are no slices and in use; only these can be whole. */
  readonly deviceCount: Int32Array;
  /** By row: an index into `fits.classes`. */
  readonly classIndex: Int32Array;
  /** By row: the worth of the devices' free parts, in whole devices. */
  readonly units: Float64Array;
  readonly wholeCount: Int32Array;
  /** By row: the worth of the node, with its class's factor. */
  readonly worths: Float64Array;
  /** Rows in the order in which they changed; one may be there often. */
  readonly changes: Row[] = [];
  /** By row: its last place in `changes`. */
  readonly lastChange: Int32Array;
  readonly worth: Worth;
  readonly #factors: Float64Array;
  /** 1 for a device that is neither a slice nor out of use. */
  readonly #gpuIsWhole: Uint8Array;

  constructor(nodes: readonly Node[], worth: Worth) {
    const count = nodes.length;
    this.nodes = nodes;
    this.worth = worth;
    this.cpuMillis = new Float64Array(count);
    this.memoryMiB = new Float64Array(count);
    this.diskMiB = new Float64Array(count);
    this.gpuStart = new Int32Array(count + 1);
    this.classIndex = new Int32Array(count);
    this.units = new Float64Array(count);
    this.wholeCount = new Int32Array(count);
    this.deviceCount = new Int32Array(count);
    this.worths = new Float64Array(count);
    this.lastChange = new Int32Array(count);
    this.#factors = new Float64Array(count);
    for (const [row, node] of nodes.entries()) {
      this.gpuStart[row + 1] = (this.gpuStart[row] ?? 0) + node.inventory.gpus.length;
      this.classIndex[row] = this.fits.indexOf(node.nodeClass);
      this.#factors[row] = worth.factorOf(node.nodeClass);
    }
    this.gpuMillis = new Int32Array(this.gpuStart[count] ?? 0);
    this.gpuUnits = new Float64Array(this.gpuMillis.length);
    this.#gpuIsWhole = new Uint8Array(this.gpuMillis.length);
    for (const [row, node] of nodes.entries()) this.#setDevices(row, node.inventory.gpus);
  }

  #setDevices(row: Row, gpus: readonly GpuDevice[]): void {
    const start = this.gpuStart[row] as number;
    for (const [position, device] of gpus.entries()) {
      if (device.fault !== undefined) continue;
      this.gpuUnits[start + position] = gpuWorthMillis(device) / WHOLE_GPU_MILLIS;
      if (device.mig !== undefined) continue;
      this.#gpuIsWhole[start + position] = 1;
      (this.deviceCount[row] as number) += 1;
    }
  }

  /** Sets a row to what its node has beside what is used of it. */
  reset(row: Row, usage: NodeUsage): void {
    const { inventory } = present(this.nodes[row], 'node of a row');
    const free = freeOn(inventory, usage);
    this.cpuMillis[row] = free.cpuMillis;
    this.memoryMiB[row] = free.memoryMiB;
    this.diskMiB[row] = free.diskMiB;
    const start = this.gpuStart[row] as number;
    for (const [position, { index, fault }] of inventory.gpus.entries()) {
      // A device that is out of use has nothing to sell.
      const whole = fault === undefined && !usage.isExclusive ? WHOLE_GPU_MILLIS : 0;
      this.gpuMillis[start + position] = whole - (usage.isExclusive ? 0 : (usage.gpuMillis.get(index) ?? 0));
    }
    this.#changed(row);
  }

  /** A task with these devices (positions in the inventory) takes its place on the row. */
  take(row: Row, fit: Fit, devices: readonly number[]): void {
    this.#move(row, fit.resources, -1);
    const start = this.gpuStart[row] as number;
    for (const position of devices) (this.gpuMillis[start + position] as number) -= fit.millis[position] as number;
    this.#changed(row);
  }

  stateOf(row: Row): RowState {
    const free = {
      cpuMillis: this.cpuMillis[row] as number,
      memoryMiB: this.memoryMiB[row] as number,
      diskMiB: this.diskMiB[row] as number,
    };
    return { row, free, gpuMillis: this.gpuMillis.slice(this.gpuStart[row], this.gpuStart[row + 1]) };
  }

  restore({ row, free, gpuMillis }: RowState): void {
    this.cpuMillis[row] = free.cpuMillis;
    this.memoryMiB[row] = free.memoryMiB;
    this.diskMiB[row] = free.diskMiB;
    this.gpuMillis.set(gpuMillis, this.gpuStart[row]);
    this.#changed(row);
  }

  /** What the row would be worth with so much CPU and memory less, and such devices left. */
  worthWith(row: Row, taken: Resources, left: { readonly units: number; readonly wholeCount: number }): number {
    return this.#worth(row, left, {
      cpuMillis: (this.cpuMillis[row] as number) - taken.cpuMillis,
      memoryMiB: (this.memoryMiB[row] as number) - taken.memoryMiB,
    });
  }

  #worth(
    row: Row,
    { units, wholeCount }: { readonly units: number; readonly wholeCount: number },
    { cpuMillis, memoryMiB }: { readonly cpuMillis: number; readonly memoryMiB: number },
  ): number {
    if (units <= 0) return 0;
    return (
      (this.#factors[row] as number) *
      this.worth.ofNode({
        cpuMillis,
        memoryMiB,
        units,
        wholeCount,
        deviceCount: this.deviceCount[row] as number,
      })
    );
  }

  #move(row: Row, { cpuMillis, memoryMiB, diskMiB }: Resources, sign: 1 | -1): void {
    (this.cpuMillis[row] as number) += sign * cpuMillis;
    (this.memoryMiB[row] as number) += sign * memoryMiB;
    (this.diskMiB[row] as number) += sign * diskMiB;
  }

  #changed(row: Row): void {
    const { residual } = this.worth;
    const end = this.gpuStart[row + 1] as number;
    let units = 0;
    let wholeCount = 0;
    for (let device = this.gpuStart[row] as number; device < end; device += 1) {
      // A node that came back smaller may be held beyond what it has.
      const free = Math.max(0, this.gpuMillis[device] as number);
      units += (this.gpuUnits[device] as number) * (residual[free] as number);
      if (free === WHOLE_GPU_MILLIS) wholeCount += this.#gpuIsWhole[device] as number;
    }
    this.units[row] = units;
    this.wholeCount[row] = wholeCount;
    const cpuMillis = this.cpuMillis[row] as number;
    this.worths[row] = this.#worth(row, { units, wholeCount }, { cpuMillis, memoryMiB: this.memoryMiB[row] as number });
    this.lastChange[row] = this.changes.push(row) - 1;
  }
}
