import { statfsSync } from 'node:fs';
import { hostname, release } from 'node:os';
import type { DriverName } from '../../shared/job-spec/spec.js';
import type { GpuDevice, Resources } from '../../shared/resources.js';
import type { Inventory, Volume } from '../../shared/wire/messages.js';
import { addressTowards } from './address.js';
import { type Attributes, type HardwareOptions, hardwareAttributes } from './hardware.js';
import { availableCpuMillis, availableMemoryMiB, readText } from './limits.js';

const MIB = 1024 ** 2;

export interface InventoryOptions extends HardwareOptions {
  /** The directory whose file system is offered as disk. */
  readonly diskAt: string;
  /** What the operator says instead of what is found. */
  readonly capacity: Partial<Resources>;
  /** Devices to offer that nobody looks for: for tests and for over-commitment. */
  readonly gpuCount: number;
  readonly labels: Readonly<Record<string, string>>;
  readonly drivers: readonly DriverName[];
  /** Where other nodes reach this one; null to find it out. */
  readonly address: string | null;
  /** The coordinator's. */
  readonly url: string;
  /** There is a place in memory for secrets; without one no task that has any is placed here. */
  readonly keepsSecrets: boolean;
  readonly volumes: readonly Volume[];
}

/** What this node offers. Capacity is what the machine has in all: nothing is set aside for the system. */
export async function takeInventory(options: InventoryOptions): Promise<Inventory> {
  return {
    capacity: {
      cpuMillis: availableCpuMillis(),
      memoryMiB: availableMemoryMiB(),
      diskMiB: wholeGiB(diskFreeMiB(options.diskAt)),
      ...options.capacity,
    },
    gpus: Array.from({ length: options.gpuCount }, (_, index) => unnamedGpu(index)),
    labels: options.labels,
    attributes: {
      ...(await hardwareAttributes(options)),
      ...ownAttributes(),
      ...(options.keepsSecrets ? { secrets: 'memory' } : {}),
    },
    drivers: options.drivers,
    address: options.address ?? (await addressTowards(options.url)),
    ...(options.volumes.length === 0
      ? {}
      : { volumes: options.volumes.map(({ name, writable }) => ({ name, writable })) }),
  };
}

/** Names the machine's current boot: processes of another one are gone. */
export function readBootId(): string {
  return readText('/proc/sys/kernel/random/boot_id') ?? 'unknown';
}

export function diskFreeMiB(path: string): number {
  const { bavail, bsize } = statfsSync(path);
  return Math.floor((bavail * bsize) / MIB);
}

/** Coarse, so that a node does not change with every file that is written. */
function wholeGiB(mebibytes: number): number {
  return mebibytes - (mebibytes % 1_024);
}

function ownAttributes(): Attributes {
  return { arch: process.arch, os: process.platform, kernel: release(), hostname: hostname() };
}

function unnamedGpu(index: number): GpuDevice {
  return { index, uuid: `gpu-${index}`, model: 'declared', memoryMiB: 0 };
}
