import type { CreateOrder, ProviderWorld } from '../../coordinator/elastic/provider.js';
import { systemClock } from '../../shared/clock.js';
import type { InstanceId, NodeId } from '../../shared/ids.js';
import type { NodeShape } from '../../shared/pool.js';

/** What a small machine offers. */
export const SMALL_SHAPE: NodeShape = {
  capacity: { cpuMillis: 2_000, memoryMiB: 512, diskMiB: 0 },
  gpus: [],
  labels: {},
  attributes: {},
  drivers: ['process'],
};

/** A machine `i1` of the pool `small`, whose coordinator is nowhere. */
export function aMachineOrder(parts: Partial<CreateOrder> = {}): CreateOrder {
  return {
    cluster: 'lab',
    instanceId: 'i1' as InstanceId,
    pool: 'small',
    nodeId: 'small-i1' as NodeId,
    shape: SMALL_SHAPE,
    labels: { pool: 'small' },
    join: { url: 'http://127.0.0.1:9', ca: null, token: 'of-no-use' },
    ...parts,
  };
}

export function aProviderWorld(stateDir: string, parts: Partial<ProviderWorld> = {}): ProviderWorld {
  return { stateDir, secret: () => undefined, environment: { PATH: process.env.PATH }, clock: systemClock, ...parts };
}
