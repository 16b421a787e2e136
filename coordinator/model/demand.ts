import type { Constraint, PlaceName, StepSpec, TargetName } from '../../shared/job-spec/spec.js';
import type { VolumeMount } from '../../shared/job-spec/staging-spec.js';
import { taskCountOf } from '../../shared/job-spec/task-indexes.js';
import { POOL_LABEL, type PoolSpec } from '../../shared/pool.js';
import type { GpuDemand, GpuDevice, Resources } from '../../shared/resources.js';
import type { Inventory, NodeDriver, Volume } from '../../shared/wire/messages.js';
import { isTarget, PLACE_AT_TARGET } from './mirror.js';
import type { NodeClass } from './node.js';

/** Everything about a task that feasibility may read; tasks of equal demand share one interned record. */
export interface DemandClass {
  readonly key: string;
  readonly resources: Resources;
  readonly gpus: GpuDemand | null;
  readonly driver: NodeDriver;
  readonly constraints: readonly Constraint[];
  /** The task has its node to itself; absent when it shares. */
  readonly exclusive?: true;
  /** So many tasks start together or not at all; absent for tasks that start one by one. */
  readonly gangSize?: number;
  /** Absent when it needs none, like `volumes` of a node class. */
  readonly volumes?: readonly Volume[];
}

/** What of a step decides its demand. */
export type DemandSource = Pick<
  StepSpec,
  'resources' | 'driver' | 'targets' | 'constraints' | 'exclusive' | 'gang' | 'array' | 'secrets' | 'volumes'
>;

/** Said by an agent that has a place in memory for them; others would run the task without. */
const KEEPS_SECRETS: Constraint = { key: 'secrets', op: 'exists', values: [] };

/** Makes equal classes the same object, so that caches can be keyed by identity. */
export class ClassTable {
  readonly #demands = new Map<string, DemandClass>();
  readonly #nodes = new Map<string, NodeClass>();

  /** What its tasks demand at one of its targets. */
  demandOf(spec: DemandSource, target: PlaceName = spec.targets?.[0] ?? 'cluster'): DemandClass {
    if (isTarget(target)) return intern(this.#demands, demandAt(target));
    const { cpuMillis, memoryMiB, diskMiB, gpus } = spec.resources;
    const body = {
      resources: { cpuMillis, memoryMiB, diskMiB },
      gpus: gpus && {
        count: gpus.count,
        ...(gpus.model === null ? {} : { model: gpus.model }),
        ...(gpus.minMemoryMiB === null ? {} : { minMemoryMiB: gpus.minMemoryMiB }),
        ...(gpus.shareMillis === undefined ? {} : { shareMillis: gpus.shareMillis }),
        ...(gpus.memoryMiB === undefined ? {} : { memoryMiB: gpus.memoryMiB }),
        ...(gpus.mig === undefined ? {} : { mig: gpus.mig }),
      },
      driver: spec.driver,
      constraints: [...spec.constraints, ...(spec.secrets ? [KEEPS_SECRETS] : []), ...inPool(target)],
      ...(spec.exclusive ? { exclusive: true as const } : {}),
      ...(spec.gang === undefined ? {} : { gangSize: taskCountOf(spec) }),
      ...(spec.volumes === undefined ? {} : { volumes: spec.volumes.map(neededOf) }),
    };
    return intern(this.#demands, body);
  }

  /** The class whose key was stored; the key is its JSON text. */
  demandOfKey(key: string): DemandClass {
    return intern(this.#demands, JSON.parse(key) as Omit<DemandClass, 'key'>);
  }

  /** The class whose key was stored; the key is its JSON text. */
  nodeClassOfKey(key: string): NodeClass {
    return intern(this.#nodes, JSON.parse(key) as Omit<NodeClass, 'key'>);
  }

  nodeClassOf(inventory: Inventory, pool?: Pick<PoolSpec, 'exclusive'>): NodeClass {
    const { capacity, gpus, labels, attributes, drivers, volumes } = inventory;
    return intern(this.#nodes, {
      capacity,
      gpus: gpus.map(classOfDevice),
      labels: sorted(labels),
      attributes: sorted(attributes),
      drivers,
      ...(volumes === undefined ? {} : { volumes }),
      ...(pool?.exclusive ? { exclusive: true as const } : {}),
    });
  }
}

/** What the task needs is the remote system's to find: here it takes one of the target's places. */
function demandAt(target: TargetName): Omit<DemandClass, 'key'> {
  return { resources: PLACE_AT_TARGET, gpus: null, driver: target, constraints: [] };
}

function inPool(place: PlaceName): Constraint[] {
  const [, pool] = /^pool\/(.*)$/.exec(place) ?? [];
  return pool === undefined ? [] : [{ key: `label:${POOL_LABEL}`, op: 'in', values: [pool] }];
}

function neededOf({ name, writable }: VolumeMount): Volume {
  return { name, writable: writable ?? false };
}

/** Two machines that differ only in their devices' serial numbers, or in the words of a fault, are of one class. */
function classOfDevice(device: GpuDevice): GpuDevice {
  return { ...device, uuid: '', ...(device.fault === undefined ? {} : { fault: 'out of use' }) };
}

function sorted(record: Readonly<Record<string, string>>): Record<string, string> {
  return Object.fromEntries(Object.entries(record).sort(([left], [right]) => (left < right ? -1 : 1)));
}

function intern<Class extends { readonly key: string }>(table: Map<string, Class>, body: Omit<Class, 'key'>): Class {
  const key = JSON.stringify(body);
  const known = table.get(key);
  if (known) return known;
  const made = { ...body, key } as unknown as Class;
  table.set(key, made);
  return made;
}
