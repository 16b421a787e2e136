/** What the operator allows and how what is scarce is divided. Quantities are in the planner's units. */
export interface Limits {
  readonly namespaces: ReadonlyMap<string, Quota>;
  readonly users: ReadonlyMap<string, Quota>;
  /** By the name of jobs: for all of a name, in each namespace by itself. */
  readonly jobs: ReadonlyMap<string, Quota>;
  /** Namespaces share the cluster, and users their namespace, in proportion to their weights; 1 when absent. */
  readonly namespaceWeights: ReadonlyMap<string, number>;
  readonly userWeights: ReadonlyMap<string, number>;
  /** How many of each licence exist, in the whole cluster. */
  readonly licences: ReadonlyMap<string, number>;
  /** Who may have others stopped to make room; nobody when empty. */
  readonly preemption: readonly PreemptionClass[];
  /** Keys of the secrets that exist; who holds them keeps this up to date. A step that names another one waits. */
  readonly secretKeys: ReadonlySet<string>;
}

/** Tasks of at least one priority may stop those of at most another. */
export interface PreemptionClass {
  readonly from: number;
  readonly upTo: number;
}

/** The highest priority that tasks of this one may stop, always a lower one; undefined when they may stop nobody. */
export function preemptedUpTo({ preemption }: Limits, priority: number): number | undefined {
  let highest: number | undefined;
  for (const { from, upTo } of preemption) {
    if (priority >= from) highest = Math.max(highest ?? upTo, upTo);
  }
  return highest === undefined ? undefined : Math.min(highest, priority - 1);
}

/** What may run, or wait, at once; a field that is absent limits nothing. */
export interface Quota {
  readonly cpuMillis?: number;
  readonly memoryMiB?: number;
  readonly gpuMillis?: number;
  readonly taskCount?: number;
  /** Tasks that are neither placed nor done; beyond it a submission is refused. */
  readonly waitingCount?: number;
}

/** The name under which a quota stands for everybody who has none of their own. */
export const EVERYBODY = '*';

export const NO_LIMITS: Limits = {
  namespaces: new Map(),
  users: new Map(),
  jobs: new Map(),
  namespaceWeights: new Map(),
  userWeights: new Map(),
  licences: new Map(),
  preemption: [],
  secretKeys: new Set(),
};

/** Whose a quota is: a namespace's, a user's, or that of all jobs of a name in one namespace. */
export interface QuotaOwner {
  readonly owner: 'namespace' | 'user' | 'job';
  readonly name: string;
}

export interface OwnedQuota extends QuotaOwner {
  readonly quota: Quota;
}

/** Whose work has to keep quotas. */
export interface Submitter {
  readonly namespace: string;
  readonly user: string;
  readonly jobName: string;
}

/** As the end of "the quota of ...". */
export function ownerWords({ owner, name }: QuotaOwner): string {
  return owner === 'job' ? `jobs named ${name}` : `${owner} ${name}`;
}

/** The quotas that a job's tasks have to keep; at most three. */
export function quotasOf(limits: Limits, who: Submitter): OwnedQuota[] {
  const found: OwnedQuota[] = [];
  const namespace = limits.namespaces.get(who.namespace) ?? limits.namespaces.get(EVERYBODY);
  if (namespace) found.push({ owner: 'namespace', name: who.namespace, quota: namespace });
  const user = limits.users.get(who.user) ?? limits.users.get(EVERYBODY);
  if (user) found.push({ owner: 'user', name: who.user, quota: user });
  const job = limits.jobs.get(who.jobName) ?? limits.jobs.get(EVERYBODY);
  if (job) found.push({ owner: 'job', name: who.jobName, quota: job });
  return found;
}

/** `pack` fills what is in use and keeps whole devices and nodes free; `spread` goes where most is free. */
export type Packing = 'pack' | 'spread';
