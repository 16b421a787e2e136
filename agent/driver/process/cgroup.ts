import { existsSync, mkdirSync, readFileSync, rmdirSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import type { Resources } from '../../../shared/resources.js';
import { type Usage, usageOf } from '../../../shared/usage.js';
import type { CgroupHome, Controller } from './cgroup-home.js';

/** What a group may use; written only where it changes. */
export interface GroupLimits extends Resources {
  readonly maxProcesses: number;
}

const PERIOD_US = 100_000;
const MIB = 1024 ** 2;
/** The least quota that the kernel takes. */
const MIN_QUOTA_US = 1_000;

const MEMORY_NODES = 'cpuset.mems';

/** The files that both versions of control groups have, under other names. */
interface Files {
  limits(limits: GroupLimits): readonly (readonly [Controller, string, string])[];
  readonly peak: readonly [Controller, string];
  readonly oom: readonly [Controller, string];
  cpuMs(group: Cgroup): number;
  io(group: Cgroup): { readonly readBytes: number; readonly writtenBytes: number };
}

interface Amounts {
  readonly cpuMs: number;
  readonly readBytes: number;
  readonly writtenBytes: number;
  readonly peakMemoryBytes: number;
  readonly oomKillCount: number;
}

const V1: Files = {
  limits: ({ cpuMillis, memoryMiB, maxProcesses }) => [
    ['cpu', 'cpu.cfs_quota_us', String(quotaUs(cpuMillis))],
    ['memory', 'memory.limit_in_bytes', String(memoryMiB * MIB)],
    ['pids', 'pids.max', String(maxProcesses)],
  ],
  peak: ['memory', 'memory.max_usage_in_bytes'],
  oom: ['memory', 'memory.oom_control'],
  cpuMs: (group) => Number(group.read('cpuacct', 'cpuacct.usage')) / 1e6,
  io: (group) => {
    const text = group.read('io', 'blkio.throttle.io_service_bytes_recursive');
    return { readBytes: sumOf(text, / Read (\d+)/g), writtenBytes: sumOf(text, / Write (\d+)/g) };
  },
};

const V2: Files = {
  limits: ({ cpuMillis, memoryMiB, maxProcesses }) => [
    ['cpu', 'cpu.max', `${quotaUs(cpuMillis)} ${PERIOD_US}`],
    ['memory', 'memory.max', String(memoryMiB * MIB)],
    ['memory', 'memory.swap.max', '0'],
    ['pids', 'pids.max', String(maxProcesses)],
  ],
  peak: ['memory', 'memory.peak'],
  oom: ['memory', 'memory.events'],
  cpuMs: (group) => sumOf(group.read('cpuacct', 'cpu.stat'), /usage_usec (\d+)/g) / 1_000,
  io: (group) => {
    const text = group.read('io', 'io.stat');
    return { readBytes: sumOf(text, /rbytes=(\d+)/g), writtenBytes: sumOf(text, /wbytes=(\d+)/g) };
  },
};

/**
 * A control group of ours in every hierarchy. It serves one attempt after another, so amounts are differences.
 *
 * Calls are synchronous: the kernel answers from memory.
 */
export class Cgroup {
  readonly folders: readonly string[];
  readonly #files: Files;
  readonly #byController: ReadonlyMap<Controller, string>;
  readonly #written = new Map<string, string>();
  #before: Amounts | undefined;
  #now: Amounts | undefined;

  /** Takes up one that exists. */
  constructor(home: CgroupHome, name: string) {
    this.#files = home.version === 1 ? V1 : V2;
    this.#byController = new Map([...home.folders].map(([controller, folder]) => [controller, join(folder, name)]));
    this.folders = [...new Set(this.#byController.values())];
  }

  /** Throws what the file system throws. */
  make(): this {
    for (const folder of this.folders) mkdirSync(folder, { recursive: true });
    return this;
  }

  /** Keeps what will be in it to these cores: `2,3`. Throws when the kernel refuses them. */
  pin(cores: string): void {
    const folder = this.#byController.get('cpuset');
    if (folder === undefined) return;
    // Version 1 lets no process in before both are said.
    if (this.#files === V1) writeFileSync(join(folder, MEMORY_NODES), readOrEmpty(join(dirname(folder), MEMORY_NODES)));
    writeFileSync(join(folder, 'cpuset.cpus'), cores);
  }

  /** Sets the limits of the next attempt, and counts from here. Throws when the kernel refuses a limit. */
  begin(limits: GroupLimits): void {
    for (const [controller, name, value] of this.#files.limits(limits)) this.#write(controller, name, value);
    const [controller, name] = this.#files.peak;
    const isReset = this.#reset(controller, name);
    // Between two attempts nothing runs.
    this.#before = { ...(this.#now ?? this.#amounts()), peakMemoryBytes: isReset ? 0 : this.#peak() };
  }

  /** No process can be born in it until the next `begin`. */
  stopForks(): void {
    this.#write('pids', 'pids.max', '0');
  }

  members(): number[] {
    const text = readOrEmpty(join(this.folders[0] ?? '', 'cgroup.procs'));
    return text.split('\n').filter(Boolean).map(Number);
  }

  /** What was used since `begin`; nothing of an attempt that another process began. */
  end(): { readonly usage: Usage; readonly wasOutOfMemory: boolean } {
    const before = this.#before;
    const now = this.#amounts();
    this.#now = now;
    if (before === undefined) return { usage: {}, wasOutOfMemory: false };
    const usage = usageOf({
      cpuMs: now.cpuMs - before.cpuMs,
      readBytes: now.readBytes - before.readBytes,
      writtenBytes: now.writtenBytes - before.writtenBytes,
      // Where the peak cannot be reset (version 2 before Linux 6.12), only a new one is this attempt's.
      ...(now.peakMemoryBytes > before.peakMemoryBytes ? { peakMemoryBytes: now.peakMemoryBytes } : {}),
    });
    return { usage: usage ?? {}, wasOutOfMemory: now.oomKillCount > before.oomKillCount };
  }

  /** False while a process is in it. Idempotent. */
  remove(): boolean {
    for (const folder of this.folders) {
      try {
        rmdirSync(folder);
      } catch {
        if (existsSync(folder)) return false;
      }
    }
    return true;
  }

  /** Empty where there is no such controller. */
  read(controller: Controller, name: string): string {
    const folder = this.#byController.get(controller);
    return folder === undefined ? '' : readOrEmpty(join(folder, name));
  }

  #amounts(): Amounts {
    return {
      cpuMs: this.#files.cpuMs(this),
      ...this.#files.io(this),
      peakMemoryBytes: this.#peak(),
      oomKillCount: sumOf(this.read(...this.#files.oom), /oom_kill (\d+)/g),
    };
  }

  #peak(): number {
    return Number(this.read(...this.#files.peak));
  }

  #write(controller: Controller, name: string, value: string): void {
    const folder = this.#byController.get(controller);
    if (folder === undefined || this.#written.get(name) === value) return;
    const path = join(folder, name);
    this.#written.delete(name);
    // Some kernels do without the limit on swap.
    if (!existsSync(path)) return;
    writeFileSync(path, value);
    this.#written.set(name, value);
  }

  /** False where that cannot be; `end` can do without. */
  #reset(controller: Controller, name: string): boolean {
    const folder = this.#byController.get(controller);
    try {
      if (folder !== undefined) writeFileSync(join(folder, name), '0');
      return folder !== undefined;
    } catch {
      return false;
    }
  }
}

function quotaUs(cpuMillis: number): number {
  return Math.max(MIN_QUOTA_US, (cpuMillis * PERIOD_US) / 1_000);
}

function sumOf(text: string, pattern: RegExp): number {
  let sum = 0;
  for (const match of text.matchAll(pattern)) sum += Number(match[1]);
  return sum;
}

function readOrEmpty(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return '';
  }
}
