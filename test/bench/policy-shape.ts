import { type ClusterState, emptyState } from '../../coordinator/model/state.js';
import type { EpochMs } from '../../shared/clock.js';
import { allocationIdOf, instanceIdOf, type JobId, jobIdOf, type NodeId } from '../../shared/ids.js';
import { POOL_LABEL, type PoolSpec } from '../../shared/pool.js';
import { anInventory, oneStep } from '../kit/builders.js';
import { fold } from './plan-shape.js';

export const DEMANDS = 200;
/** The present of every decision. */
export const NOW: EpochMs = 20_000_000;
const TASKS_PER_JOB = 50;
const TASKS_PER_MACHINE = 4;
const MINUTE_MS = 60_000;

const USERS = 8;
export const POOLS = 20;

export interface PolicyShape {
  readonly machineCount: number;
  readonly taskCount: number;
  /** What the machines that are on do: all run tasks to their last core, or none does. */
  readonly machines: 'busy' | 'idle';
}

/** A cluster of rented machines: of each pool a tenth is suspended, a tenth boots, and the rest is on. */
export function rented({ machineCount, taskCount, machines }: PolicyShape): ClusterState {
  const state = emptyState();
  const each = Math.floor(machineCount / POOLS);
  for (let pool = 0; pool < POOLS; pool += 1) {
    fold(state, { type: 'pool.defined', spec: poolOf(pool, each * 2), by: 'bench' }, 0);
  }
  // One of every demand has come and gone, so that it is known how long such tasks run.
  for (let demand = 0; demand < DEMANDS; demand += 1) submit(state, { demand, count: 1 }, 0);
  for (let machine = 0; machine < each * POOLS; machine += 1) {
    const place = Math.floor(machine / POOLS) / each;
    const phase = place < 0.1 ? 'suspended' : place < 0.2 ? 'booting' : 'on';
    start(state, { pool: machine % POOLS, phase, isBusy: machines === 'busy' });
  }
  for (let job = 0; job < taskCount / TASKS_PER_JOB; job += 1) {
    submit(state, { demand: job % DEMANDS, count: TASKS_PER_JOB }, NOW - (job % 97) * MINUTE_MS);
  }
  return state;
}

function poolOf(pool: number, max: number): PoolSpec {
  return {
    name: poolName(pool),
    provider: { kind: 'fake', settings: {} },
    node: { ...inventoryOf(pool), drivers: ['process'] },
    ...{ min: 0, max, warm: { kind: 'nodes', count: 0 }, idleMs: MINUTE_MS, predeploy: 0, exclusive: false },
    ...{ onIdle: pool % 2 === 0 ? 'suspend' : 'terminate', fallback: [], quota: null },
    prices: { onPerHour: 1 + pool, suspendedPerHour: 0 },
    times: { bootMs: 5 * MINUTE_MS, resumeMs: MINUTE_MS, offMs: MINUTE_MS },
  };
}

function poolName(pool: number): string {
  return `p${pool}`;
}

function inventoryOf(pool: number): ReturnType<typeof anInventory> {
  const cpuMillis = TASKS_PER_MACHINE * 1_000;
  return anInventory({
    capacity: { cpuMillis, memoryMiB: 16_384, diskMiB: 102_400 },
    labels: { [POOL_LABEL]: poolName(pool) },
  });
}

interface Machine {
  readonly pool: number;
  readonly phase: 'on' | 'booting' | 'suspended';
  readonly isBusy: boolean;
}

function start(state: ClusterState, { pool, phase, isBusy }: Machine): void {
  const sequence = state.nextInstanceSequence;
  const instanceId = instanceIdOf(sequence);
  const nodeId = `${poolName(pool)}-${sequence}` as NodeId;
  const at = phase === 'booting' ? NOW - MINUTE_MS : 0;
  fold(state, { type: 'instance.requested', instanceId, sequence, pool: poolName(pool), nodeId, why: 'demand' }, at);
  fold(state, { type: 'instance.booting', instanceId, ref: instanceId }, at);
  if (phase === 'booting') return;
  const inventory = inventoryOf(pool);
  fold(state, { type: 'node.registered', nodeId, identity: nodeId, version: '', bootId: '', inventory }, at);
  fold(state, { type: 'node.connected', nodeId }, at);
  fold(state, { type: 'instance.joined', instanceId }, at);
  if (phase === 'on') {
    if (isBusy) occupy(state, { pool, nodeId });
    return;
  }
  fold(state, { type: 'instance.closing', instanceId, to: 'suspend', reason: 'idle' }, at);
  fold(state, { type: 'instance.stopping', instanceId, to: 'suspend', reason: 'idle' }, at);
  fold(state, { type: 'instance.suspended', instanceId }, at);
}

/** As many tasks run as the node has cores. */
function occupy(state: ClusterState, { pool, nodeId }: { readonly pool: number; readonly nodeId: NodeId }): void {
  const jobId = submit(state, { demand: pool, count: TASKS_PER_MACHINE }, NOW - 10 * MINUTE_MS);
  for (let index = 0; index < TASKS_PER_MACHINE; index += 1) {
    const allocationId = allocationIdOf({ jobId, step: 'main', index, attempt: 1 });
    const startedAt = NOW - (state.lastSeq % 600) * 1_000;
    fold(state, { type: 'allocation.committed', allocationId, nodeId, gpus: [] }, startedAt);
    fold(state, { type: 'allocation.started', allocationId, startedAt }, startedAt);
  }
}

interface Submission {
  readonly demand: number;
  readonly count: number;
}

/** Every pool has its own demands, which differ in memory. */
function submit(state: ClusterState, { demand, count }: Submission, at: EpochMs): JobId {
  const sequence = state.nextJobSequence;
  const jobId = jobIdOf(sequence);
  const resources = { cpuMillis: 1_000, memoryMiB: 1_024 + 8 * demand };
  const constraints = [{ key: `label:${POOL_LABEL}`, op: 'in', values: [poolName(demand % POOLS)] }] as const;
  const spec = oneStep({ array: `0-${count - 1}`, resources, constraints });
  fold(state, { type: 'job.submitted', jobId, sequence, spec, by: `u${demand % USERS}` }, at);
  return jobId;
}
