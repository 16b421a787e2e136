import { join } from 'node:path';
import { FileArtifactStore } from '../../coordinator/artifacts/file-artifact-store.js';
import { Engine } from '../../coordinator/engine/engine.js';
import { TaskLogs } from '../../coordinator/gateway/task-logs.js';
import type { HpcBackend } from '../../coordinator/hpc/backend.js';
import { MirrorOperator } from '../../coordinator/hpc/operator/mirror-operator.js';
import { parseTargets, type TargetSpec } from '../../coordinator/hpc/read-targets.js';
import { DEFAULT_PLAN_POLICY } from '../../coordinator/scheduler/plan.js';
import { ImmediatePricing } from '../../coordinator/scheduler/worth/pricing.js';
import { SqliteStore } from '../../coordinator/store/sqlite.js';
import { systemClock } from '../../shared/clock.js';
import { isRefusal } from '../../shared/errors.js';
import type { AllocationId, JobId } from '../../shared/ids.js';
import type { JobSpec } from '../../shared/job-spec/spec.js';
import { NO_LIMITS } from '../../shared/limits.js';
import { silentLog } from '../../shared/log.js';
import { systemRandom } from '../../shared/random.js';
import { secretKey } from '../../shared/secrets.js';
import { oneStep } from './builders.js';
import { until } from './until.js';

const LEASE_MS = 60_000;
const SECRETS = ['token', 'key', 'binary'];
const LIMITS = { ...NO_LIMITS, secretKeys: new Set(SECRETS.map((name) => secretKey('default', name))) };

export interface MirrorParts {
  readonly folder: string;
  readonly targets: readonly TargetSpec[];
  readonly open: () => HpcBackend;
}

/** A coordinator as far as targets go, on a state directory: it may end and begin again there. */
export class MirrorCoordinator {
  readonly engine: Engine;
  readonly operator: MirrorOperator;
  readonly logs: TaskLogs;
  readonly artifacts: FileArtifactStore;

  private constructor(parts: Pick<MirrorCoordinator, 'engine' | 'operator' | 'logs' | 'artifacts'>) {
    this.engine = parts.engine;
    this.operator = parts.operator;
    this.logs = parts.logs;
    this.artifacts = parts.artifacts;
  }

  static async begin({ folder, targets, open }: MirrorParts): Promise<MirrorCoordinator> {
    const base = { stateDir: folder, clock: systemClock, random: systemRandom, log: silentLog };
    let operator: MirrorOperator | undefined;
    const engine = await Engine.open({
      ...base,
      store: new SqliteStore({ stateDir: folder }),
      rules: { nodeLeaseMs: LEASE_MS, limits: LIMITS },
      planning: { ...DEFAULT_PLAN_POLICY, limits: LIMITS },
      pricing: new ImmediatePricing(),
      perform: (effects) => operator?.perform(effects),
      onFailure: (error) => {
        throw error;
      },
    });
    const logs = new TaskLogs(base);
    const artifacts = await FileArtifactStore.open({ ...base, folder: join(folder, 'artifacts') });
    const made = new MirrorOperator({
      ...{ engine, targets, open, logs, artifacts, clock: systemClock, log: silentLog },
      cluster: 'berth-test',
      version: 'test',
      secrets: { valueOf: (_namespace, name) => secretOf(name) },
    });
    operator = made;
    await made.begin();
    return new MirrorCoordinator({ engine, operator: made, logs, artifacts });
  }

  async submit(spec: JobSpec): Promise<JobId> {
    const refusal = await this.operator.refuse(spec);
    if (refusal) throw new Error(refusal.detail);
    const reply = await this.engine.handle({ type: 'submitJob', spec, by: 'tester' });
    if (isRefusal(reply) || reply.kind !== 'job') throw new Error(JSON.stringify(reply));
    return reply.jobId;
  }

  /** The ends of all attempts of a finished job, in order of their tasks. */
  async endsOf(jobId: JobId): Promise<readonly string[]> {
    await until(`${jobId} is finished`, () => this.engine.view.jobs.get(jobId)?.phase.kind === 'finished');
    const ended = [...this.engine.view.allocations.values()].filter(({ ref }) => ref.jobId === jobId);
    return ended
      .sort((left, right) => left.ref.index - right.ref.index || left.ref.attempt - right.ref.attempt)
      .map(({ phase }) => (phase.kind === 'ended' ? endText(phase.end) : phase.kind));
  }

  cancel(jobId: JobId): Promise<unknown> {
    return this.engine.handle({ type: 'cancelJob', jobId, reason: 'no longer needed', by: 'tester' });
  }

  async output(id: string, stream: 'stdout' | 'stderr' = 'stdout'): Promise<string> {
    const allocation = this.engine.view.allocations.get(id as AllocationId);
    if (!allocation) return '';
    return Buffer.from(await this.logs.read(allocation.ref, stream, 0, 1_000_000)).toString();
  }

  wordsOf(id: string): string | undefined {
    return this.operator.stateOf(id as AllocationId)?.message;
  }

  async close(): Promise<void> {
    await this.operator.close();
    await this.engine.close();
    await this.logs.close();
  }
}

function secretOf(name: string): Uint8Array | undefined {
  if (!SECRETS.includes(name)) return undefined;
  return Buffer.from(name === 'binary' ? '\0' : `it's ${name}`);
}

function endText(end: object & { readonly kind: string }): string {
  const { kind, ...rest } = end as { kind: string; ranMs?: number };
  const { ranMs: _, ...facts } = rest;
  return [kind, ...Object.values(facts)].join(' ');
}

/** A target named `site`. */
export function aTarget(stagingRoot: string, parts: Readonly<Record<string, unknown>> = {}): readonly TargetSpec[] {
  const given = { name: 'site', backend: 'slurm-local', stagingRoot, period: '500ms', ...parts };
  const targets = parseTargets({ targets: [given] });
  if (isRefusal(targets)) throw new Error(targets.detail);
  return targets.targets;
}

/** A job of one step at it, which runs a shell command. */
export function aRemoteJob(command: string, parts: Parameters<typeof oneStep>[0] = {}): JobSpec {
  return oneStep({ targets: ['hpc/site'], run: { kind: 'command', argv: ['sh', '-c', command] }, ...parts });
}
