import type { EpochMs } from '../../../shared/clock.js';
import { cpusOf, formatMiB } from '../../../shared/units.js';
import type { NodeGpu, NodeView } from '../api.js';
import { labelsText, paintState } from './job.js';
import type { Column } from './table.js';
import { age, localTime, shortTime } from './time.js';

const GIB_IN_MIB = 1024;

export function nodeColumns(now: EpochMs, nodes: readonly NodeView[]): readonly Column<NodeView>[] {
  const pool: Column<NodeView> = { title: 'POOL', text: ({ machine }) => machine?.pool ?? '-' };
  return [
    { title: 'NAME', text: (node) => node.name },
    ...(nodes.some(({ machine }) => machine) ? [pool] : []),
    {
      title: 'STATE',
      text: (node) => machineText(node) ?? drainText(node, now),
      paint: (text, node, colors) => paintState(text, node.state, colors),
    },
    { title: 'CPUS FREE', text: (node) => share(node, (sizes) => String(cpusOf(sizes.cpuMillis))), align: 'right' },
    { title: 'MEMORY FREE', text: (node) => share(node, (sizes) => roughMiB(sizes.memoryMiB)), align: 'right' },
    {
      title: 'DISK FREE',
      text: (node) => share(node, (sizes) => roughMiB(sizes.diskMiB)),
      align: 'right',
      isWide: true,
    },
    { title: 'GPUS FREE', text: (node) => share(node, (sizes) => String(sizes.gpuCount)), align: 'right' },
    { title: 'TASKS', text: (node) => String(node.allocations), align: 'right' },
    { title: 'SINCE', text: (node) => age(node.since, now), align: 'right' },
    { title: 'VERSION', text: (node) => node.version, isWide: true },
    { title: 'DRIVERS', text: (node) => node.drivers.join(','), isWide: true },
    { title: 'LABELS', text: (node) => labelsText(node.labels), isWide: true },
    { title: 'REASON', text: (node) => node.reason ?? '-' },
  ];
}

export function nodeFields(node: NodeView): readonly (readonly [string, string | null])[] {
  const { usage } = node;
  return [
    ['Node', node.name],
    ['State', `${node.state} (link ${node.link}, intake ${node.intake})`],
    ['Deadline', node.deadlineAt == null ? null : `${localTime(node.deadlineAt)}, ${tasksLeft(node)}`],
    ['Since', localTime(node.since)],
    ['Reason', node.reason],
    ['Version', node.version],
    ['Pool', node.machine ? `${node.machine.pool}, machine ${node.machine.id} ${node.machine.phase}` : null],
    ['Registered', localTime(node.registeredAt)],
    ['CPUs free', share(node, (sizes) => String(cpusOf(sizes.cpuMillis)))],
    ['Memory free', share(node, (sizes) => roughMiB(sizes.memoryMiB))],
    ['Disk free', share(node, (sizes) => roughMiB(sizes.diskMiB))],
    ['GPUs free', share(node, (sizes) => String(sizes.gpuCount))],
    ['Tasks', String(node.allocations)],
    ['Drivers', node.drivers.join(', ')],
    [
      'Volumes',
      (node.volumes ?? []).map(({ name, writable }) => `${name}${writable ? '' : ' (read-only)'}`).join(', '),
    ],
    ['Labels', labelsText(node.labels)],
    ['Attributes', labelsText(node.attributes)],
    ['CPUs in use', usage && String(cpusOf(usage.cpuUsedMillis))],
    ['Memory in use', usage && roughMiB(usage.memoryUsedMiB)],
    ['Load', usage && String(usage.load)],
    ['Clock offset', usage && `${usage.clockOffsetMs} ms`],
  ];
}

/** What its machine is doing, while that is not simply on. */
function machineText({ machine }: NodeView): string | undefined {
  return machine && machine.phase !== 'joined' ? machine.phase : undefined;
}

/** Its state, and of a draining node until when and what is left: `draining until 14:03, 2 tasks left`. */
export function drainText(node: NodeView, now: EpochMs): string {
  if (node.state !== 'draining') return node.state;
  const until = node.deadlineAt == null ? '' : ` until ${shortTime(node.deadlineAt, now)}`;
  return `draining${until}, ${tasksLeft(node)}`;
}

function tasksLeft({ allocations }: NodeView): string {
  return `${allocations} ${allocations === 1 ? 'task' : 'tasks'} left`;
}

export function gpuColumns(): readonly Column<NodeGpu>[] {
  return [
    { title: 'GPU', text: (gpu) => String(gpu.index), align: 'right' },
    { title: 'MODEL', text: (gpu) => gpu.model },
    { title: 'MEMORY', text: (gpu) => formatMiB(gpu.memoryMiB), align: 'right' },
    { title: 'IN USE', text: ({ sample }) => orDash(sample?.memoryUsedMiB, roughMiB), align: 'right' },
    {
      title: 'BUSY',
      text: ({ sample }) => orDash(sample?.utilizationPercent, (percent) => `${percent}%`),
      align: 'right',
    },
    { title: 'TEMP', text: ({ sample }) => orDash(sample?.temperatureC, (degrees) => `${degrees}C`), align: 'right' },
    { title: 'POWER', text: ({ sample }) => orDash(sample?.powerWatts, (watts) => `${watts}W`), align: 'right' },
    { title: 'UUID', text: (gpu) => gpu.uuid },
    { title: 'USED BY', text: (gpu) => gpu.allocationId ?? '-' },
    { title: 'FAULT', text: (gpu) => gpu.fault ?? '-' },
  ];
}

function orDash(value: number | undefined, text: (value: number) => string): string {
  return value === undefined ? '-' : text(value);
}

function share(node: NodeView, text: (sizes: NodeView['free']) => string): string {
  return `${text(node.free)}/${text(node.capacity)}`;
}

/** A size for the eye: `15.2GiB` rather than `15563MiB`. */
function roughMiB(mebibytes: number): string {
  if (mebibytes < GIB_IN_MIB) return `${mebibytes}MiB`;
  return `${Number((mebibytes / GIB_IN_MIB).toFixed(1))}GiB`;
}
