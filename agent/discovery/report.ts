import type { GpuDevice } from '../../shared/resources.js';
import { cpusOf } from '../../shared/units.js';
import type { Inventory } from '../../shared/wire/messages.js';
import type { EccErrors, Gpu, GpuProcess, GpuReading } from './gpu/gpu.js';
import { devicesOf, sliceIndex } from './gpu/known-gpus.js';

/** All that this machine would report, and what of it is found out on the way: `berth agent discover`. */
export interface MachineReport {
  readonly cpus: number;
  readonly memoryMiB: number;
  readonly diskMiB: number;
  readonly gpus: readonly GpuReport[];
  /** Why GPUs cannot be read; absent where they can, and where there is no such tool. */
  readonly gpuProblem?: string;
  readonly driverVersion: string | null;
  readonly cudaVersion: string | null;
  readonly drivers: readonly string[];
  readonly isolation: Readonly<Record<string, string>>;
  readonly labels: Readonly<Record<string, string>>;
  readonly attributes: Readonly<Record<string, string>>;
  readonly versions: Readonly<Record<string, string>>;
}

/** A physical GPU. Null is what it does not tell. */
export interface GpuReport {
  readonly index: number;
  readonly uuid: string;
  readonly model: string;
  readonly busId: string | null;
  readonly memoryMiB: number;
  readonly memoryUsedMiB: number | null;
  readonly migMode: 'enabled' | 'disabled';
  readonly migDevices: readonly SliceReport[];
  readonly healthy: boolean;
  readonly faults: readonly string[];
  /** The same in one text, as the coordinator is told it. */
  readonly fault: string | null;
  readonly computeMode: string | null;
  readonly utilizationPercent: number | null;
  readonly temperatureC: number | null;
  readonly powerWatts: number | null;
  readonly ecc: EccErrors;
  readonly processes: readonly GpuProcess[];
  readonly driverVersion: string | null;
  readonly cudaVersion: string | null;
}

export interface SliceReport {
  readonly index: number;
  readonly uuid: string;
  readonly profile: string;
  readonly gpuInstanceId: number;
  readonly computeInstanceId: number;
  readonly memoryMiB: number;
  readonly memoryUsedMiB: number | null;
  readonly healthy: boolean;
  readonly fault: string | null;
}

export interface ReportParts {
  readonly inventory: Inventory;
  readonly gpus: GpuReading;
  readonly isolation: Readonly<Record<string, string>>;
  readonly versions: Readonly<Record<string, string>>;
}

export function reportOf({ inventory, gpus, isolation, versions }: ReportParts): MachineReport {
  const { capacity, drivers, labels, attributes } = inventory;
  const page = gpus.kind === 'read' ? gpus.page : { driverVersion: null, cudaVersion: null, gpus: [] };
  const { driverVersion, cudaVersion } = page;
  const found = page.gpus.map((gpu) => ({ ...gpuReport(gpu), driverVersion, cudaVersion }));
  return {
    cpus: cpusOf(capacity.cpuMillis),
    memoryMiB: capacity.memoryMiB,
    diskMiB: capacity.diskMiB,
    gpus: found.length > 0 ? found : inventory.gpus.map(declaredGpu),
    ...(gpus.kind === 'failed' ? { gpuProblem: gpus.reason } : {}),
    driverVersion,
    cudaVersion,
    drivers,
    isolation,
    labels,
    attributes,
    versions,
  };
}

function gpuReport(gpu: Gpu): Omit<GpuReport, 'driverVersion' | 'cudaVersion'> {
  const { uuid, model, busId, memoryMiB, memoryUsedMiB, isMig, faults, ecc, processes } = gpu;
  const { computeMode, utilizationPercent, temperatureC, powerWatts, position: index } = gpu;
  const devices = new Map(devicesOf(gpu, index).map((device) => [device.index, device]));
  return {
    index,
    ...{ uuid, model, busId, memoryMiB: memoryMiB ?? 0, memoryUsedMiB },
    migMode: isMig ? 'enabled' : 'disabled',
    migDevices: gpu.migDevices.map(({ gpuInstanceId, computeInstanceId, profile, ...slice }) => {
      const device = devices.get(sliceIndex(index, gpuInstanceId, computeInstanceId));
      return {
        index: device?.index ?? 0,
        ...{ uuid: slice.uuid, profile, gpuInstanceId, computeInstanceId },
        memoryMiB: slice.memoryMiB ?? 0,
        memoryUsedMiB: slice.memoryUsedMiB,
        healthy: device?.fault === undefined,
        fault: device?.fault ?? null,
      };
    }),
    healthy: faults.length === 0,
    faults,
    fault: faults.length === 0 ? null : faults.join('; '),
    ...{ computeMode, utilizationPercent, temperatureC, powerWatts, ecc, processes },
  };
}

/** A device that the operator declared and nobody looked for. */
function declaredGpu({ index, uuid, model, memoryMiB }: GpuDevice): GpuReport {
  return {
    ...{ index, uuid, model, busId: null, memoryMiB, memoryUsedMiB: null },
    ...{ migMode: 'disabled', migDevices: [], healthy: true, faults: [], fault: null, computeMode: null },
    ...{ utilizationPercent: null, temperatureC: null, powerWatts: null, processes: [] },
    ecc: { volatileUncorrectable: null, aggregateUncorrectable: null },
    ...{ driverVersion: null, cudaVersion: null },
  };
}

/** For people: what is on the machine, then a line a GPU and a line a slice. */
export function reportText(report: MachineReport): string {
  const facts: [string, string][] = [
    ['CPUs', String(report.cpus)],
    ['Memory', `${report.memoryMiB}MiB`],
    ['Disk', `${report.diskMiB}MiB`],
    ['Drivers', report.drivers.join(', ')],
    ...entries('Isolation', report.isolation),
    ...entries('Version', report.versions),
    ...entries('Label', report.labels),
    ['NVIDIA driver', report.driverVersion ?? '-'],
    ['CUDA', report.cudaVersion ?? '-'],
    ['GPUs', report.gpuProblem ?? String(report.gpus.length)],
  ];
  const rows = report.gpus.flatMap((gpu) => [gpuRow(gpu), ...gpu.migDevices.map(sliceRow)]);
  const table = rows.length > 0 ? ['', ...aligned([GPU_TITLES, ...rows])] : [];
  return [...aligned(facts), ...table].join('\n');
}

const GPU_TITLES = ['GPU', 'MODEL', 'MEMORY', 'BUSY', 'TEMP', 'POWER', 'UUID', 'HEALTH'];

function gpuRow(gpu: GpuReport): string[] {
  const { utilizationPercent: busy, temperatureC: degrees, powerWatts: watts } = gpu;
  const measured = [
    busy === null ? '-' : `${busy}%`,
    degrees === null ? '-' : `${degrees}C`,
    watts === null ? '-' : `${watts}W`,
  ];
  return [String(gpu.index), gpu.model, `${gpu.memoryMiB}MiB`, ...measured, gpu.uuid, gpu.fault ?? 'healthy'];
}

function sliceRow({ index, profile, memoryMiB, uuid, fault }: SliceReport): string[] {
  return [String(index), `MIG ${profile}`, `${memoryMiB}MiB`, '-', '-', '-', uuid, fault ?? 'healthy'];
}

function entries(title: string, record: Readonly<Record<string, string>>): [string, string][] {
  return Object.entries(record).map(([name, value]) => [`${title} ${name}`, value]);
}

function aligned(rows: readonly (readonly string[])[]): string[] {
  const widths: number[] = [];
  for (const row of rows)
    for (const [column, text] of row.entries()) widths[column] = Math.max(widths[column] ?? 0, text.length);
  return rows.map((row) =>
    row
      .map((text, column) => text.padEnd(widths[column] ?? 0))
      .join('  ')
      .trimEnd(),
  );
}
