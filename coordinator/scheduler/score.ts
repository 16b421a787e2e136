import type { Packing } from '../../shared/limits.js';
import { WHOLE_GPU_MILLIS } from '../../shared/resources.js';
import type { DemandClass } from '../model/demand.js';
import type { Board, Row } from './board.js';
import type { Fit } from './fit.js';

/** Cost of a row without room for the task. */
export const NO_ROOM = Number.POSITIVE_INFINITY;

/** Of devices that lose equal worth, the fuller one: so much per whole device left free beside the task. */
const LEFTOVER = 0.22;
/** Of nodes with GPUs of equal worth that are taken whole, the smaller one: so much per share that is not asked for. */
const UNASKED = 0.01;
/** The highest sum of idle shares: a node without GPUs costs less than any with them. */
const DIMENSIONS = 3;
/** What a free GPU weighs against an idle share of CPU, memory or disk when tasks are spread. */
const SPREAD_GPU = 4;

/**
 * What a task would cost on a row; the least is the best, `NO_ROOM` where it does not fit.
 *
 * Packing, the drop of the node's worth: of what its free capacity can still sell for. A task without GPUs costs
 * nothing where there are none, and little where CPU abounds. Among nodes without GPUs it is best fit by idle shares.
 */
export function costOn(board: Board, row: Row, fit: Fit, packing: Packing): number {
  if (fit.demand.exclusive) return costOfAll(board, row, fit.demand);
  const { resources } = fit;
  const cpuLeft = (board.cpuMillis[row] as number) - resources.cpuMillis;
  const memoryLeft = (board.memoryMiB[row] as number) - resources.memoryMiB;
  const diskLeft = (board.diskMiB[row] as number) - resources.diskMiB;
  if (cpuLeft < 0 || memoryLeft < 0 || diskLeft < 0) return NO_ROOM;
  if (fit.gpuCount > 0 && !choose(board, row, fit, packing)) return NO_ROOM;
  const { capacity } = board.nodes[row]?.inventory ?? NO_INVENTORY;
  const idle =
    share(cpuLeft, capacity.cpuMillis) + share(memoryLeft, capacity.memoryMiB) + share(diskLeft, capacity.diskMiB);
  if (packing === 'spread') return -idle - SPREAD_GPU * (board.units[row] as number);
  const before = board.worths[row] as number;
  // Spent nodes with GPUs are filled in their order, so that departures leave the later ones wholly free.
  if (before === 0) return hasGpus(board, row) ? 0 : idle - DIMENSIONS;
  if (fit.gpuCount === 0) {
    const left = { units: board.units[row] as number, wholeCount: board.wholeCount[row] as number };
    return before - board.worthWith(row, resources, left);
  }
  const left = {
    units: (board.units[row] as number) - chosen.units,
    wholeCount: (board.wholeCount[row] as number) - chosen.wholes,
  };
  return before - board.worthWith(row, resources, left) + LEFTOVER * chosen.leftover;
}

/** What a node that is taken whole costs: all of its worth, and, of equal ones, the part that the task asks nothing of. */
function costOfAll(board: Board, row: Row, { resources: need }: DemandClass): number {
  const { capacity } = board.nodes[row]?.inventory ?? NO_INVENTORY;
  if ((board.cpuMillis[row] as number) !== capacity.cpuMillis) return NO_ROOM;
  const unasked =
    share(capacity.cpuMillis - need.cpuMillis, capacity.cpuMillis) +
    share(capacity.memoryMiB - need.memoryMiB, capacity.memoryMiB) +
    share(capacity.diskMiB - need.diskMiB, capacity.diskMiB);
  return hasGpus(board, row) ? (board.worths[row] as number) + UNASKED * unasked : unasked - DIMENSIONS;
}

/** The devices that a task would get on a row that has room, by position. */
export function devicesOn(board: Board, row: Row, fit: Fit, packing: Packing): readonly number[] {
  if (fit.demand.exclusive) return [...fit.order];
  return fit.gpuCount > 0 && choose(board, row, fit, packing) ? chosen.positions.slice(0, fit.gpuCount) : [];
}

const NO_INVENTORY = { capacity: { cpuMillis: 0, memoryMiB: 0, diskMiB: 0 } };

function hasGpus(board: Board, row: Row): boolean {
  return (board.gpuStart[row + 1] as number) > (board.gpuStart[row] as number);
}

function share(part: number, whole: number): number {
  return whole === 0 ? 0 : part / whole;
}

/** What `choose` found last. One record for all calls: it is asked for every node and demand. */
const chosen = { positions: [] as number[], drops: [] as number[], units: 0, wholes: 0, leftover: 0 };

/** Picks the devices that lose least worth, or the freest when spreading; false when too few have room. */
function choose(board: Board, row: Row, fit: Fit, packing: Packing): boolean {
  const start = board.gpuStart[row] as number;
  const { residual } = board.worth;
  const { millis, order, gpuCount } = fit;
  const isOfSlices = fit.demand.gpus?.mig !== undefined;
  const oneWhole = isOfSlices
    ? 0
    : board.worth.ofOneWhole(board.wholeCount[row] as number, board.deviceCount[row] as number);
  let found = 0;
  for (let place = 0; place < order.length; place += 1) {
    const position = order[place] as number;
    const free = board.gpuMillis[start + position] as number;
    const left = free - (millis[position] as number);
    if (left < 0) continue;
    const loss = (residual[free] as number) - (residual[left] as number) + (LEFTOVER * left) / WHOLE_GPU_MILLIS;
    const broken = free === WHOLE_GPU_MILLIS ? oneWhole : 0;
    const drop = packing === 'pack' ? loss + broken : -left;
    if (found === gpuCount && drop >= (chosen.drops[found - 1] as number)) continue;
    insert(position, drop, found);
    if (found < gpuCount) found += 1;
  }
  if (found < gpuCount) return false;
  measure(board, row, fit);
  return true;
}

/** Keeps the chosen in order of their drop; beyond the last place one falls out. */
function insert(position: number, drop: number, found: number): void {
  const { positions, drops } = chosen;
  let at = found;
  while (at > 0 && (drops[at - 1] as number) > drop) {
    positions[at] = positions[at - 1] as number;
    drops[at] = drops[at - 1] as number;
    at -= 1;
  }
  positions[at] = position;
  drops[at] = drop;
}

function measure(board: Board, row: Row, { demand, gpuCount, unit, millis }: Fit): void {
  const start = board.gpuStart[row] as number;
  const { residual } = board.worth;
  chosen.units = 0;
  chosen.wholes = 0;
  chosen.leftover = 0;
  for (let place = 0; place < gpuCount; place += 1) {
    const position = chosen.positions[place] as number;
    const free = board.gpuMillis[start + position] as number;
    const left = free - (millis[position] as number);
    chosen.units += unit * ((residual[free] as number) - (residual[left] as number));
    if (free === WHOLE_GPU_MILLIS && demand.gpus?.mig === undefined) chosen.wholes += 1;
    chosen.leftover += left / WHOLE_GPU_MILLIS;
  }
}
