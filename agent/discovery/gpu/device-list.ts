/** What `nvidia-smi -L` adds to the page: the names of slices. */
export interface ListedGpu {
  readonly uuid: string;
  /** By their place in the list. */
  readonly slices: ReadonlyMap<number, ListedSlice>;
}

export interface ListedSlice {
  readonly profile: string;
  readonly uuid: string;
}

const GPU_LINE = /^GPU\s+\d+:.*\(UUID:\s*(GPU-[^)\s]+)\)/;
const SLICE_LINE = /^\s+MIG\s+(\S+)\s+Device\s+(\d+):\s*\(UUID:\s*(MIG-[^)\s]+)\)/;

/**
 * Reads lines like these, and passes over all others:
 *
 *     GPU 0: NVIDIA A100-SXM4-40GB (UUID: GPU-…)
 *       MIG 1g.5gb      Device  0: (UUID: MIG-…)
 */
export function parseDeviceList(text: string): ReadonlyMap<string, ListedGpu> {
  const gpus = new Map<string, { uuid: string; slices: Map<number, ListedSlice> }>();
  let current: { slices: Map<number, ListedSlice> } | undefined;
  for (const line of text.split('\n')) {
    const [, uuid] = GPU_LINE.exec(line) ?? [];
    const [, profile, position, sliceUuid] = SLICE_LINE.exec(line) ?? [];
    if (uuid !== undefined) {
      const gpu = { uuid, slices: new Map<number, ListedSlice>() };
      gpus.set(uuid, gpu);
      current = gpu;
    } else if (profile !== undefined && sliceUuid !== undefined) {
      current?.slices.set(Number(position), { profile, uuid: sliceUuid });
    }
  }
  return gpus;
}
