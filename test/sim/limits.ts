import { addHoldings, type Holdings, NO_HOLDINGS } from '../../coordinator/model/accounts.js';
import { type Allocation, heldGpuMillis } from '../../coordinator/model/allocation.js';
import { type ClusterView, stepOf } from '../../coordinator/model/state.js';
import { type Limits, NO_LIMITS, type Quota, quotasOf } from '../../shared/limits.js';

/**
 * The operator's limits of every simulated cluster. Tight enough to be reached all the time; the smallest still lets
 * one task of each kind start, an exclusive one on the largest machine too, so every job ends.
 */
export const SIM_LIMITS: Limits = {
  ...NO_LIMITS,
  namespaces: new Map<string, Quota>([
    ['a', { cpuMillis: 6_000, gpuMillis: 3_000, taskCount: 7 }],
    ['*', { memoryMiB: 12_288 }],
  ]),
  users: new Map<string, Quota>([['*', { taskCount: 6, cpuMillis: 8_000 }]]),
  jobs: new Map<string, Quota>([
    ['nightly', { taskCount: 2 }],
    ['*', { taskCount: 5 }],
  ]),
  namespaceWeights: new Map([['a', 2]]),
  licences: new Map([
    ['l', 3],
    ['m', 1],
  ]),
  preemption: [{ from: 100, upTo: 0 }],
};

/** Every limit that live allocations exceed, added up from the records alone. Cost: O(allocations + steps). */
export function beyondLimits(view: ClusterView, limits: Limits): string[] {
  const found: string[] = [];
  const quotas = new Map<string, QuotaUse>();
  const licences = new Map<string, number>();
  for (const allocation of view.allocations.values()) {
    const job = view.jobs.get(allocation.ref.jobId);
    const spec = stepOf(view, allocation.ref)?.spec;
    if (allocation.phase.kind === 'ended' || !job || !spec) continue;
    for (const [name, count] of Object.entries(spec.resources.licences ?? {}))
      licences.set(name, (licences.get(name) ?? 0) + count);
    const who = { namespace: job.spec.namespace, user: job.submittedBy, jobName: job.spec.name };
    for (const { owner, name, quota } of quotasOf(limits, who)) {
      const key = owner === 'job' ? `job ${who.namespace} ${name}` : `${owner} ${name}`;
      const held = addHoldings(quotas.get(key)?.held ?? NO_HOLDINGS, holdingsIn(allocation));
      quotas.set(key, { quota, held });
    }
  }
  for (const [key, use] of quotas) found.push(...beyondQuota(key, use));
  for (const [name, count] of licences)
    if (count > (limits.licences.get(name) ?? 0)) found.push(`${count} licences ${name} are held`);
  for (const job of view.jobs.values()) {
    for (const { name, spec, counts } of job.steps.values())
      if (counts.placed > (spec.maxParallel ?? counts.placed)) found.push(`${job.id}/${name} exceeds maxParallel`);
  }
  return found;
}

interface QuotaUse {
  readonly quota: Quota;
  readonly held: Holdings;
}

function beyondQuota(key: string, { quota, held }: QuotaUse): string[] {
  const resources = ['cpuMillis', 'memoryMiB', 'gpuMillis', 'taskCount'] as const;
  return resources.flatMap((resource) => {
    const limit = quota[resource];
    return limit === undefined || held[resource] <= limit
      ? []
      : `${key} holds ${held[resource]} ${resource} of ${limit}`;
  });
}

function holdingsIn(allocation: Allocation): Holdings {
  const { resources, gpus, countedMillis } = allocation;
  const gpuMillis = countedMillis ?? gpus.reduce((sum, _, position) => sum + heldGpuMillis(allocation, position), 0);
  return { cpuMillis: resources.cpuMillis, memoryMiB: resources.memoryMiB, gpuMillis, taskCount: 1 };
}
