import { existsSync, readFileSync } from 'node:fs';
import { availableParallelism, totalmem, userInfo } from 'node:os';

const MIB = 1024 ** 2;

/** Processors that this process may use, in thousandths: the machine's, less what affinity and a cgroup's quota withhold. */
export function availableCpuMillis(): number {
  const quota = cpuQuotaMillis();
  const cpuMillis = availableParallelism() * 1_000;
  return quota === undefined ? cpuMillis : Math.min(cpuMillis, quota);
}

/** Memory that this process may use: the machine's, or less where a cgroup limits it. */
export function availableMemoryMiB(): number {
  const limits = ['/sys/fs/cgroup/memory.max', '/sys/fs/cgroup/memory/memory.limit_in_bytes'].map(readNumber);
  const bytes = Math.min(totalmem(), ...limits.filter((limit) => limit !== undefined));
  return Math.floor(bytes / MIB);
}

/** What this process could keep tasks apart with. */
export function readIsolation(): Readonly<Record<string, string>> {
  return { cgroup: cgroupVersion(), user: userInfo().username };
}

function cgroupVersion(): 'v1' | 'v2' | 'none' {
  if (existsSync('/sys/fs/cgroup/cgroup.controllers')) return 'v2';
  return existsSync('/sys/fs/cgroup/memory') ? 'v1' : 'none';
}

function cpuQuotaMillis(): number | undefined {
  const [quota, period] = (readText('/sys/fs/cgroup/cpu.max') ?? '').split(' ').map(Number);
  if (quota && period) return Math.round((quota / period) * 1_000);
  const oldQuota = readNumber('/sys/fs/cgroup/cpu/cpu.cfs_quota_us');
  const oldPeriod = readNumber('/sys/fs/cgroup/cpu/cpu.cfs_period_us');
  return oldQuota && oldQuota > 0 && oldPeriod ? Math.round((oldQuota / oldPeriod) * 1_000) : undefined;
}

/** Undefined for what is not there or says "max". */
function readNumber(path: string): number | undefined {
  const value = Number(readText(path) ?? Number.NaN);
  return Number.isFinite(value) && value !== 0 ? value : undefined;
}

export function readText(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8').trim();
  } catch {
    return undefined;
  }
}
