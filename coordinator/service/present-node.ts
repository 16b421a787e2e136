import Type, { type Static } from 'typebox';
import type { AllocationId } from '../../shared/ids.js';
import { freeOn } from '../model/hold.js';
import type { Node } from '../model/node.js';
import type { ClusterView } from '../model/state.js';
import { MACHINE_PHASES } from './present-pool.js';
import { instant, instantOrNull, nullable, oneOf, stringMap, time } from './schemas.js';
import type { NodeSample } from './service.js';

/** Enough to know whom to ask, in a list of all nodes too. */
const MAX_RUNNING = 10;
const size = Type.Integer({ minimum: 0 });
const sizesSchema = Type.Object({ cpuMillis: size, memoryMiB: size, diskMiB: size, gpuCount: size });

const gpuSampleSchema = Type.Object(
  {
    utilizationPercent: Type.Optional(size),
    memoryUsedMiB: Type.Optional(size),
    temperatureC: Type.Optional(size),
    powerWatts: Type.Optional(size),
  },
  { description: 'What it did when the agent last looked, as far as it tells.' },
);

export const nodeSchema = Type.Object({
  name: Type.String(),
  state: oneOf(
    ['ready', 'suspect', 'lost', 'departed', 'cordoned', 'draining', 'drained', 'closing'],
    'The link when it is not connected, else the intake.',
  ),
  link: oneOf(['connected', 'suspect', 'lost', 'departed']),
  intake: oneOf(['open', 'cordoned', 'draining', 'drained', 'closing']),
  reason: nullable(Type.String(), 'Why it takes nothing new, in the words of the one who said so.'),
  version: Type.String({ description: "The agent's version." }),
  capacity: sizesSchema,
  free: sizesSchema,
  gpus: Type.Array(
    Type.Object({
      index: size,
      uuid: Type.String(),
      model: Type.String(),
      memoryMiB: size,
      mig: Type.Optional(Type.String({ description: 'The profile of a MIG slice.' })),
      fault: Type.Optional(Type.String({ description: 'Why it takes no task; absent while it is healthy.' })),
      allocationId: nullable(Type.String(), 'The newest attempt that holds some of it.'),
      usedMillis: Type.Integer({ minimum: 0, maximum: 1_000, description: 'Thousandths in use.' }),
      sample: Type.Optional(gpuSampleSchema),
    }),
  ),
  labels: stringMap,
  attributes: stringMap,
  drivers: Type.Array(Type.String()),
  volumes: Type.Array(Type.Object({ name: Type.String(), writable: Type.Boolean() })),
  allocations: Type.Integer({ minimum: 0, description: 'Attempts that hold something of it.' }),
  running: Type.Array(Type.String(), { description: `The oldest of these, ${MAX_RUNNING} at most.` }),
  deadlineAt: nullable(
    Type.String({ format: 'date-time' }),
    'When what a draining node still runs is stopped and requeued; null for never.',
  ),
  usage: nullable(
    Type.Object({
      cpuUsedMillis: Type.Number(),
      memoryUsedMiB: Type.Number(),
      diskFreeMiB: Type.Number(),
      load: Type.Number(),
      clockOffsetMs: Type.Number({ description: "The node's wall clock less the coordinator's." }),
    }),
    'Its newest sample; null when there is none.',
  ),
  machine: nullable(
    Type.Object({ id: Type.String(), pool: Type.String(), phase: oneOf(MACHINE_PHASES), since: time('Since when.') }),
    'The rented machine that it runs on.',
  ),
  registeredAt: time('When it first joined.'),
  since: time('Since when it has been in its state.'),
});
export type NodeView = Static<typeof nodeSchema>;

export function presentNode(view: ClusterView, node: Node, sample: NodeSample | undefined): NodeView {
  const { capacity, gpus, labels, attributes, drivers, volumes } = node.inventory;
  const usage = view.index.usage(node.id);
  const holders = gpuHolders(view, usage.live);
  const free = freeOn(node.inventory, usage);
  return {
    name: node.id,
    ...stateOf(node),
    link: node.link.kind,
    intake: node.intake.kind,
    reason: node.intake.kind === 'open' ? null : node.intake.reason,
    version: node.version,
    capacity: { ...capacity, gpuCount: gpus.length },
    // A node that came back smaller may hold more than it has.
    free: {
      cpuMillis: Math.max(0, free.cpuMillis),
      memoryMiB: Math.max(0, free.memoryMiB),
      diskMiB: Math.max(0, free.diskMiB),
      gpuCount: gpus.filter(({ index, fault }) => fault === undefined && !usage.gpuMillis.has(index)).length,
    },
    gpus: gpus.map((device) => ({
      ...device,
      allocationId: holders.get(device.index) ?? null,
      usedMillis: usage.gpuMillis.get(device.index) ?? 0,
      ...gpuSample(sample, device.index),
    })),
    labels,
    attributes,
    drivers: [...drivers],
    volumes: [...(volumes ?? [])],
    allocations: usage.live.size,
    running: [...usage.live].slice(0, MAX_RUNNING),
    deadlineAt: instantOrNull(node.intake.kind === 'draining' ? node.intake.deadlineAt : null),
    usage: sample ? presentSample(sample) : null,
    machine: machineUnder(view, node),
    registeredAt: instant(node.registeredAt),
  };
}

function stateOf({ link, intake, registeredAt }: Node): Pick<NodeView, 'state' | 'since'> {
  if (link.kind !== 'connected') return { state: link.kind, since: instant(link.since) };
  if (intake.kind !== 'open') return { state: intake.kind, since: instant(intake.since) };
  return { state: 'ready', since: instant(Math.max(link.since, registeredAt)) };
}

function machineUnder({ index, instances }: ClusterView, { id: nodeId }: Node): NodeView['machine'] {
  const id = index.instanceByNode.get(nodeId);
  const machine = id && instances.get(id);
  if (!machine) return null;
  const { pool, phase } = machine;
  return { id: machine.id, pool, phase: phase.kind, since: instant(phase.since) };
}

function gpuHolders(view: ClusterView, live: ReadonlySet<AllocationId>): Map<number, AllocationId> {
  const holders = new Map<number, AllocationId>();
  for (const id of live) for (const gpu of view.allocations.get(id)?.gpus ?? []) holders.set(gpu, id);
  return holders;
}

function gpuSample(sample: NodeSample | undefined, index: number): Pick<NodeView['gpus'][number], 'sample'> {
  const found = sample?.heartbeat.gpus?.find((gpu) => gpu.index === index);
  if (found === undefined) return {};
  const { index: _, ...measured } = found;
  return { sample: measured };
}

function presentSample({ heartbeat, clockOffsetMs }: NodeSample): NonNullable<NodeView['usage']> {
  const { cpuUsedMillis, memoryUsedMiB, diskFreeMiB, load } = heartbeat;
  return { cpuUsedMillis, memoryUsedMiB, diskFreeMiB, load, clockOffsetMs };
}
