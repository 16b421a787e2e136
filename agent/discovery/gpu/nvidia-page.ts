import type { ListedGpu } from './device-list.js';
import type { Gpu, GpuPage, GpuProcess, MigDevice } from './gpu.js';
import { profileOf, type SliceSize } from './mig-profile.js';
import { eccOf, faultsOf, sliceFaultsOf } from './nvidia-health.js';
import { type PageElement, parsePage } from './page-tree.js';
import { readCelsius, readCount, readMiB, readPercent, readWatts } from './quantity.js';

const UUID = /^GPU-\S+$/;
const ROOT = 'nvidia_smi_log';
/** Nine tenths of a page, and of the time to read it. */
const SUPPORTED_CLOCKS = /<supported_clocks>[\s\S]*?<\/supported_clocks>/g;

/**
 * Reads what `nvidia-smi -q -x` prints; null for what is no whole page.
 *
 * Schemas 10 to 13 are known. Any element may be missing, say that there is no answer, or be one that this version does
 * not know: what is told of a GPU is what can be read of it.
 *
 * @param listed  what `nvidia-smi -L` says, by UUID; where it is silent, slices are named from their size
 */
export function parseNvidiaPage(text: string, listed: ReadonlyMap<string, ListedGpu> = new Map()): GpuPage | null {
  const root = parsePage(text.replace(SUPPORTED_CLOCKS, ''), ROOT);
  if (root === null) return null;
  return {
    driverVersion: root.text('driver_version'),
    cudaVersion: root.text('cuda_version'),
    gpus: root.children('gpu').map((gpu, position) => readGpu(gpu, position, listed)),
  };
}

function readGpu(gpu: PageElement, position: number, listed: ReadonlyMap<string, ListedGpu>): Gpu {
  const busId = gpu.attribute('id') ?? gpu.text('pci', 'pci_bus_id');
  const given = UUID.exec(gpu.text('uuid') ?? '')?.[0];
  const uuid = given ?? `GPU-at-${busId ?? position}`;
  const isMig = /^enabled$/i.test(gpu.text('mig_mode', 'current_mig') ?? '');
  return {
    position,
    uuid,
    model: gpu.text('product_name') ?? 'unknown',
    busId,
    memoryMiB: readMiB(gpu.text('fb_memory_usage', 'total')),
    memoryUsedMiB: readMiB(gpu.text('fb_memory_usage', 'used')),
    computeMode: gpu.text('compute_mode'),
    isMig,
    migDevices: isMig ? slicesOf(gpu, uuid, listed.get(uuid)) : [],
    utilizationPercent: readPercent(gpu.text('utilization', 'gpu_util')),
    temperatureC: readCelsius(gpu.text('temperature', 'gpu_temp')),
    powerWatts: powerOf(gpu),
    ecc: eccOf(gpu),
    processes: gpu.child('processes').children('process_info').flatMap(readProcess),
    faults: [...(given ? [] : ['its UUID cannot be read']), ...faultsOf(gpu)],
  };
}

/** Schema 12 renamed the readings, and newer drivers tell the mean apart from the moment. */
function powerOf(gpu: PageElement): number | null {
  for (const group of ['gpu_power_readings', 'power_readings']) {
    for (const name of ['instant_power_draw', 'power_draw', 'average_power_draw']) {
      const watts = readWatts(gpu.text(group, name));
      if (watts !== null) return watts;
    }
  }
  return null;
}

function readProcess(process: PageElement): GpuProcess[] {
  const pid = readCount(process.text('pid'));
  if (pid === null) return [];
  return [{ pid, name: process.text('process_name'), memoryMiB: readMiB(process.text('used_memory')) }];
}

interface PageSlice extends SliceSize {
  readonly element: PageElement;
  readonly position: number;
  readonly gpuInstanceId: number;
  readonly computeInstanceId: number;
}

function slicesOf(gpu: PageElement, uuid: string, listed: ListedGpu | undefined): MigDevice[] {
  const slices = gpu.child('mig_devices').children('mig_device').flatMap(readSlice);
  const whole = {
    architecture: gpu.text('product_architecture'),
    model: gpu.text('product_name') ?? '',
    memoryMiB: readMiB(gpu.text('fb_memory_usage', 'total')),
  };
  return slices.map((slice) => {
    const { element, position, gpuInstanceId, computeInstanceId, memoryMiB } = slice;
    const parts = slices.filter((other) => other.gpuInstanceId === gpuInstanceId);
    const name = listed?.slices.get(position);
    return {
      position,
      gpuInstanceId,
      computeInstanceId,
      // Without a UUID, the older name that drivers understand too.
      uuid: element.text('uuid') ?? name?.uuid ?? `MIG-${uuid}/${gpuInstanceId}/${computeInstanceId}`,
      profile: name?.profile ?? profileOf(slice, whole, parts),
      memoryMiB,
      memoryUsedMiB: readMiB(element.text('fb_memory_usage', 'used')),
      faults: sliceFaultsOf(element),
    };
  });
}

/** Without both of its ids a slice cannot be named, and is left out. */
function readSlice(element: PageElement, order: number): PageSlice[] {
  const gpuInstanceId = readCount(element.text('gpu_instance_id'));
  const computeInstanceId = readCount(element.text('compute_instance_id'));
  if (gpuInstanceId === null || computeInstanceId === null) return [];
  return [
    {
      element,
      position: readCount(element.text('index')) ?? order,
      gpuInstanceId,
      computeInstanceId,
      multiprocessorCount: readCount(element.text('device_attributes', 'shared', 'multiprocessor_count')),
      memoryMiB: readMiB(element.text('fb_memory_usage', 'total')),
    },
  ];
}
