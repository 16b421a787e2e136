import { join } from 'node:path';
import type { Test } from 'tap';
import type { GpuSource } from '../../agent/discovery/gpu/gpu.js';
import { GpuFiles } from '../../agent/discovery/gpu/gpu-files.js';
import { GpuUse } from '../../agent/discovery/gpu/gpu-use.js';
import { GpuWatch } from '../../agent/discovery/gpu/gpu-watch.js';
import { KernelLog } from '../../agent/discovery/gpu/kernel-log.js';
import { nvidiaSmi } from '../../agent/discovery/gpu/nvidia-smi.js';
import { systemClock } from '../../shared/clock.js';
import { silentLog } from '../../shared/log.js';
import { anInventory } from '../kit/builders.js';
import { StandIn } from '../kit/stand-in.js';
import { temporaryFolder } from '../kit/temporary-folder.js';
import { until } from '../kit/until.js';

export const TIME_LIMIT_MS = 300;

/** A watch over a stand-in, which looks every 20 ms. */
export class GpuRig {
  readonly folder: string;
  readonly tool: StandIn;
  /** Does not exist until a test writes it. */
  readonly kernelLog: string;
  /** Allocations by the pids of their processes. */
  readonly owners = new Map<number, string>();
  readonly use = new GpuUse((pid) => this.owners.get(pid));
  changeCount = 0;
  lookCount = 0;
  #watch: GpuWatch | undefined;
  readonly #t: Test;

  constructor(t: Test) {
    this.#t = t;
    this.folder = temporaryFolder(t);
    this.tool = new StandIn(join(this.folder, 'bin'));
    this.kernelLog = join(this.folder, 'kmsg');
  }

  get source(): GpuSource {
    const source = nvidiaSmi({ clock: systemClock, program: this.tool.program, timeLimitMs: TIME_LIMIT_MS });
    return {
      read: (signal) => {
        this.lookCount += 1;
        return source.read(signal);
      },
    };
  }

  /** As a new agent has it; the one before is gone. */
  async start(bootId = 'boot-1'): Promise<void> {
    this.#watch?.stop();
    const watch = new GpuWatch({
      source: this.source,
      use: this.use,
      kernelLog: new KernelLog(this.kernelLog),
      files: new GpuFiles(this.folder, silentLog),
      ...{ bootId, clock: systemClock, log: silentLog, everyMs: 20 },
      changed: () => {
        this.changeCount += 1;
      },
    });
    this.#watch = watch;
    this.#t.teardown(() => watch.stop());
    await watch.start();
  }

  get inventory() {
    return (this.#watch ?? missing()).addTo(anInventory());
  }

  get samples() {
    return (this.#watch ?? missing()).samples;
  }

  get faults(): (string | undefined)[] {
    return this.inventory.gpus.map(({ fault }) => fault);
  }

  async untilFaults(what: string, isTrue: (faults: (string | undefined)[]) => boolean): Promise<void> {
    await until(what, () => isTrue(this.faults));
  }
}

function missing(): never {
  throw new Error('not started');
}
