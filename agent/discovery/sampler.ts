import { availableParallelism, loadavg } from 'node:os';
import type { Clock } from '../../shared/clock.js';
import type { Heartbeat } from '../../shared/wire/messages.js';
import { diskFreeMiB } from './inventory.js';
import { readText } from './limits.js';

interface CpuTicks {
  readonly busy: number;
  readonly total: number;
}

const KIB_PER_MIB = 1_024;

/** Samples of the machine's use, read from /proc: 0.1 ms each, no process started. */
export class Sampler {
  readonly #clock: Clock;
  readonly #diskAt: string;
  #before: CpuTicks | undefined;

  constructor(clock: Clock, diskAt: string) {
    this.#clock = clock;
    this.#diskAt = diskAt;
    this.#before = readTicks();
  }

  /** CPU use is the mean since the sample before. */
  sample(): Heartbeat {
    return {
      cpuUsedMillis: this.#cpuUsedMillis(),
      memoryUsedMiB: memoryUsedMiB(),
      diskFreeMiB: diskFreeMiB(this.#diskAt),
      sentAt: this.#clock.now(),
      load: loadavg()[0] ?? 0,
    };
  }

  #cpuUsedMillis(): number {
    const before = this.#before;
    const now = readTicks();
    this.#before = now;
    if (!before || !now || now.total <= before.total) return 0;
    const share = (now.busy - before.busy) / (now.total - before.total);
    return Math.round(Math.max(0, share) * availableParallelism() * 1_000);
  }
}

function readTicks(): CpuTicks | undefined {
  const fields = readText('/proc/stat')?.split('\n')[0]?.split(/\s+/).slice(1, 9).map(Number);
  if (!fields) return undefined;
  const total = fields.reduce((sum, ticks) => sum + ticks, 0);
  const [, , , idle = 0, waiting = 0] = fields;
  return { busy: total - idle - waiting, total };
}

function memoryUsedMiB(): number {
  const text = readText('/proc/meminfo') ?? '';
  const kib = (name: string): number => Number(new RegExp(`^${name}:\\s+(\\d+)`, 'm').exec(text)?.[1] ?? 0);
  return Math.max(0, Math.round((kib('MemTotal') - kib('MemAvailable')) / KIB_PER_MIB));
}
