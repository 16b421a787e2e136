/**
 * What a vendor's tool says of a machine's GPUs: the port between the tool and everything that follows from it.
 *
 * An adapter reads its tool and answers in these words (nvidia-smi: nvidia-smi.ts); another vendor's is another adapter.
 */
export interface GpuSource {
  /**
   * Looks once. Never rejects and is over within its time limit, whatever the tool does; it may be asked again, and
   * while a tool that hangs is still there it answers at once with that failure. When aborted it ends what it started.
   */
  read(signal: AbortSignal): Promise<GpuReading>;
}

export type GpuReading =
  | { readonly kind: 'read'; readonly page: GpuPage }
  /** There is no such tool on this machine. */
  | { readonly kind: 'absent' }
  /** There is one, and it does not say anything of use. */
  | { readonly kind: 'failed'; readonly reason: string };

export interface GpuPage {
  readonly driverVersion: string | null;
  readonly cudaVersion: string | null;
  readonly gpus: readonly Gpu[];
}

/** A physical GPU. Null is what the tool or the device does not know. */
export interface Gpu {
  /** Its place in the tool's list. */
  readonly position: number;
  readonly uuid: string;
  readonly model: string;
  readonly busId: string | null;
  readonly memoryMiB: number | null;
  readonly memoryUsedMiB: number | null;
  readonly computeMode: string | null;
  readonly isMig: boolean;
  /** Empty for a GPU that is not divided, and for one that could be and is not yet. */
  readonly migDevices: readonly MigDevice[];
  readonly utilizationPercent: number | null;
  readonly temperatureC: number | null;
  readonly powerWatts: number | null;
  readonly ecc: EccErrors;
  readonly processes: readonly GpuProcess[];
  /** Why it should take no task; empty while it is healthy. */
  readonly faults: readonly string[];
}

/** A slice of a GPU, which programs see as a device of its own. */
export interface MigDevice {
  /** Its place in the tool's list, which changes when others are made or destroyed. */
  readonly position: number;
  /** These two name it for as long as it exists. */
  readonly gpuInstanceId: number;
  readonly computeInstanceId: number;
  readonly uuid: string;
  /** Such as `1g.5gb`. */
  readonly profile: string;
  readonly memoryMiB: number | null;
  readonly memoryUsedMiB: number | null;
  readonly faults: readonly string[];
}

/** Counts of errors; null where the device does not count them. */
export interface EccErrors {
  /** Since the driver was loaded. */
  readonly volatileUncorrectable: number | null;
  /** Over the life of the device. */
  readonly aggregateUncorrectable: number | null;
}

export interface GpuProcess {
  readonly pid: number;
  readonly name: string | null;
  readonly memoryMiB: number | null;
}
