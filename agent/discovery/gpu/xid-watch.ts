import type { GpuPage } from './gpu.js';
import type { KernelLog } from './kernel-log.js';
import type { Decisions } from './quarantine.js';
import { busOf, toldOf, withXids, XID_MARK, type XidFault, type XidFaults } from './xid.js';

/** Keeps what the kernel has reported of GPUs, for as long as the machine runs. */
export class XidWatch {
  readonly #kernelLog: KernelLog;
  #faults: XidFaults = {};
  #canRead = false;

  constructor(kernelLog: KernelLog) {
    this.#kernelLog = kernelLog;
  }

  /** The kernel's log can be read: needs root, or a kernel that shows it to all. */
  get canRead(): boolean {
    return this.#canRead;
  }

  /** What an agent of the same boot goes on from: the kernel may have written over its oldest lines. */
  get faults(): XidFaults {
    return this.#faults;
  }

  recall(faults: XidFaults): void {
    this.#faults = faults;
  }

  /** The page, with what the kernel has reported of its GPUs as faults of theirs. */
  marked(page: GpuPage, decisions: Decisions): GpuPage {
    const lines = this.#kernelLog.linesWith(XID_MARK);
    this.#canRead = lines !== undefined;
    const faults: Record<string, XidFault> = { ...withXids(this.#faults, lines ?? []) };
    const gpus = page.gpus.map((gpu) => {
      const bus = busOf(gpu.busId ?? '') ?? '';
      const fault = faults[bus];
      if (fault === undefined) return gpu;
      const told = toldOf(fault, [gpu.uuid, ...gpu.migDevices.map(({ uuid }) => uuid)], decisions);
      faults[bus] = told;
      return { ...gpu, faults: [...gpu.faults, told.told] };
    });
    this.#faults = faults;
    return { ...page, gpus };
  }

  close(): void {
    this.#kernelLog.close();
  }
}
