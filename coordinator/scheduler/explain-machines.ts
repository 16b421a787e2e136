import type { EpochMs } from '../../shared/clock.js';
import { roughDuration } from '../../shared/units.js';
import type { DemandClass } from '../model/demand.js';
import { slotsOnEmpty } from '../model/feasible.js';
import type { Instance } from '../model/instance.js';
import type { Pool } from '../model/pool.js';
import type { ClusterView } from '../model/state.js';
import { explainRoom } from './explain-room.js';
import { slotsIn } from './outlook.js';
import { roomOf } from './room.js';
import { isUsable } from './slot.js';
import type { WaitReason } from './wait-reason.js';

export interface MachinePolicy {
  readonly now: EpochMs;
  /** Why a pool's provider does not do as told, as far as anybody has asked it. */
  readonly troubleOf?: ((pool: string) => string | undefined) | undefined;
}

/** A machine that is on its way, and when its node is to be expected. */
export interface ComingMachine {
  readonly machine: Instance;
  readonly usualMs: number;
  readonly expectedAt: EpochMs;
}

/** Pools that an explanation names. */
const SHOWN_POOLS = 3;

/**
 * Which nodes keep a task waiting, and the machines that could help: the one on its way, or why none is.
 *
 * Cost: O(nodes + pools * machines). Pure.
 */
export function explainRoomAndMachines(view: ClusterView, demand: DemandClass, policy: MachinePolicy): WaitReason {
  const reason = explainRoom(view, demand);
  if (view.pools.size === 0 || reason.code === 'starting') return reason;
  const fitting = [...view.pools.values()].filter((pool) => slotsOnEmpty(demand, pool.nodeClass) > 0);
  if (fitting.length === 0) return reason;
  const coming = nextMachine(view, fitting, policy.now);
  if (coming) return explainComing(coming, policy.now);
  const obstacles = fitting
    .flatMap((pool) => obstacleOf(view, pool, policy) ?? obstacleToGang(view, pool, demand) ?? [])
    .slice(0, SHOWN_POOLS);
  const { details } = reason;
  const more = details === undefined ? {} : { details };
  if (reason.code === 'capacity') {
    return obstacles.length === 0 ? reason : { ...reason, message: [reason.message, ...obstacles].join('; ') };
  }
  const names = fitting.slice(0, SHOWN_POOLS).map(({ spec }) => spec.name);
  const message =
    obstacles.length > 0
      ? `needs a machine, and none comes: ${obstacles.join('; ')}`
      : `needs a machine of pool ${names.join(' or ')}; none is ordered yet`;
  return { code: 'no-machine', message, ...more };
}

/** The machine that is expected first, of those on their way whose nodes could hold such a task. Cost: as above. */
export function comingMachine(view: ClusterView, demand: DemandClass, now: EpochMs): ComingMachine | undefined {
  const fitting = [...view.pools.values()].filter((pool) => slotsOnEmpty(demand, pool.nodeClass) > 0);
  return nextMachine(view, fitting, now);
}

function nextMachine(view: ClusterView, pools: readonly Pool[], now: EpochMs): ComingMachine | undefined {
  let first: ComingMachine | undefined;
  for (const pool of pools) {
    for (const machine of machinesOf(view, pool)) {
      const coming = arrivalOf(machine, pool, now);
      if (coming && (!first || coming.expectedAt < first.expectedAt)) first = coming;
    }
  }
  return first;
}

/** One that takes longer than usual is expected at any moment. */
function arrivalOf(machine: Instance, { times }: Pool, now: EpochMs): ComingMachine | undefined {
  const { phase, requestedAt } = machine;
  switch (phase.kind) {
    case 'requested':
    case 'booting':
      return { machine, usualMs: times.bootMs, expectedAt: Math.max(now, requestedAt + times.bootMs) };
    case 'resuming':
      return { machine, usualMs: times.resumeMs, expectedAt: Math.max(now, phase.since + times.resumeMs) };
    default:
      return undefined;
  }
}

function explainComing({ machine, usualMs, expectedAt }: ComingMachine, now: EpochMs): WaitReason {
  const { nodeId, pool, phase, requestedAt } = machine;
  const isResuming = phase.kind === 'resuming';
  const forMs = now - (isResuming ? phase.since : requestedAt);
  const doing = isResuming ? 'resuming' : 'booting';
  return {
    code: 'machine',
    message: `waits for ${nodeId}, ${doing} for ${roughDuration(forMs)}, usually ${roughDuration(usualMs)}`,
    details: { node: nodeId, pool, phase: phase.kind, expectedAt: new Date(expectedAt).toISOString() },
  };
}

/** Why no machine of the pool is started; undefined when one may be. */
function obstacleOf(view: ClusterView, pool: Pool, { now, troubleOf }: MachinePolicy): string | undefined {
  const { spec, intake, cooling } = pool;
  const { name, max, quota } = spec;
  if (intake.kind !== 'enabled') return `pool ${name} is ${intake.kind} (${intake.reason})`;
  if (cooling !== null && cooling.until > now) {
    return `pool ${name} orders nothing until ${clockTime(cooling.until)} after ${cooling.fault}: ${cooling.message}`;
  }
  const trouble = troubleOf?.(name);
  if (trouble !== undefined) return `pool ${name} has trouble with its provider, ${trouble}`;
  const count = machinesOf(view, pool).filter(({ phase }) => phase.kind !== 'suspended').length;
  if (count >= max) return `pool ${name} is at its max of ${max}`;
  return quota !== null && count >= quota ? `pool ${name} is at its quota of ${quota}` : undefined;
}

/** Its ranks start together, so that machines are started for all of them or for none. */
function obstacleToGang(view: ClusterView, pool: Pool, demand: DemandClass): string | undefined {
  const { gangSize } = demand;
  if (gangSize === undefined) return undefined;
  let free = 0;
  for (const node of view.nodes.values()) if (isUsable(node)) free += slotsIn(roomOf(view, node), demand, gangSize);
  const needed = Math.ceil((gangSize - free) / slotsOnEmpty(demand, pool.nodeClass));
  const { name, max, quota } = pool.spec;
  const onCount = machinesOf(view, pool).filter(({ phase }) => phase.kind !== 'suspended').length;
  const left = Math.min(max, quota ?? max) - onCount;
  if (needed <= left) return undefined;
  return `its ${gangSize} ranks need ${needed} more machines of pool ${name} at once, which can have ${left}`;
}

function machinesOf(view: ClusterView, { spec }: Pool): Instance[] {
  return [...view.instances.values()].filter(({ pool }) => pool === spec.name);
}

/** The coordinator does not know where its readers are. */
function clockTime(at: EpochMs): string {
  return `${new Date(at).toISOString().slice(11, 19)} UTC`;
}
