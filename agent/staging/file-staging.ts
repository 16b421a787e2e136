import { mkdir, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { ARTIFACT_LIMITS, type StoredOutput } from '../../shared/artifact.js';
import type { Clock } from '../../shared/clock.js';
import { AppError } from '../../shared/errors.js';
import type { AllocationId } from '../../shared/ids.js';
import type { DriverName } from '../../shared/job-spec/spec.js';
import { INPUT_MODE } from '../../shared/job-spec/staging-spec.js';
import type { Log } from '../../shared/log.js';
import type { Random } from '../../shared/random.js';
import type { InputOrder, StartOrder } from '../../shared/wire/messages.js';
import type { PreparedOrder } from '../driver/driver.js';
import { NetworkMounts } from './network-mounts.js';
import type { NodeVolume } from './node-volume.js';
import { type CollectedOutputs, collectOutputs } from './outputs.js';
import { type SourcePolicy, sourceOf } from './sources.js';
import type { StagedOut, Staging } from './staging.js';
import { type Effort, fetchInto, persist } from './transfer.js';
import { type TaskView, unmountBelow, Volumes } from './volumes.js';
import { createFile, shareWithAll } from './workspace.js';

export interface FileStagingOptions extends SourcePolicy {
  /** The staging's own folder; made when missing. */
  readonly directory: string;
  readonly volumes: readonly NodeVolume[];
  /** How the tasks of each driver see files; what is not here takes none. */
  readonly views: ReadonlyMap<DriverName, () => Promise<TaskView>>;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
}

const MAX_NOTE_LENGTH = 1_000;

/**
 * Workspaces as folders, one for each attempt that stages anything: `work` is the workspace, `inputs.json` what was
 * brought, and `mounts` holds file systems of its own.
 */
export class FileStaging implements Staging {
  readonly #options: FileStagingOptions;
  readonly #volumes: Volumes;
  readonly #network: NetworkMounts;
  /** Attempts that may have left something; most attempts stage nothing, and looking costs. */
  readonly #present = new Set<AllocationId>();

  constructor(options: FileStagingOptions) {
    this.#options = options;
    this.#network = new NetworkMounts({ ...options, directory: join(options.directory, '..', 'mounts') });
    this.#volumes = new Volumes(options.volumes, this.#network, options.clock);
  }

  async stageIn(order: StartOrder, signal: AbortSignal): Promise<PreparedOrder> {
    const { allocationId, inputs = [] } = order;
    const view = await this.#options.views.get(order.driver)?.();
    if (view === undefined) {
      const message = `the driver "${order.driver}" of this node takes no files; run its agent as root, or the step as a process`;
      throw new AppError('task-start-failed', message);
    }
    await this.remove(allocationId);
    this.#present.add(allocationId);
    const workspace = this.workspaceOf(allocationId);
    await mkdir(workspace, { recursive: true, mode: 0o700 });
    const brought: StoredOutput[] = [];
    for (const [position, input] of inputs.entries()) {
      signal.throwIfAborted();
      const record = await this.#bring(input, position, { workspace, effort: this.#effort(allocationId, signal) });
      if (input.sha256 === undefined) brought.push(record);
    }
    const prepared = await this.#prepare(order, { workspace, view, signal });
    await writeFile(this.#record(allocationId), JSON.stringify(brought), { mode: 0o600 });
    this.#options.log.info('inputs are staged', { allocationId, inputCount: inputs.length });
    return prepared;
  }

  async stageOut(order: StartOrder, signal: AbortSignal): Promise<StagedOut> {
    const { allocationId, outputs: specs = [] } = order;
    const inputs = JSON.parse(await readFile(this.#record(allocationId), 'utf8')) as StoredOutput[];
    const { outputs, complaints, missing } = await this.#collect(order, signal);
    if (specs.length > 0) {
      this.#options.log.info('outputs are staged', { allocationId, outputCount: outputs.length, complaints });
    }
    const absent = missing.map((path) => `it did not leave "${path}", which is required`);
    const note = [...absent, ...complaints].join('; ').slice(0, MAX_NOTE_LENGTH);
    return {
      record: { inputs, outputs, ...(note === '' ? {} : { note }) },
      failure: missing.length === 0 ? null : note,
    };
  }

  /** Again, when it took so long that the coordinator may have taken the first files for unused. */
  async #collect({ allocationId, outputs: specs = [] }: StartOrder, signal: AbortSignal): Promise<CollectedOutputs> {
    const { artifacts, clock } = this.#options;
    const effort = this.#effort(allocationId, signal);
    for (;;) {
      const beganAt = clock.monotonic();
      const collected = await collectOutputs(this.workspaceOf(allocationId), specs, ({ file }) =>
        // The coordinator may be away for long, and what the task has made must not be lost.
        persist(() => artifacts.put(file, signal), Number.POSITIVE_INFINITY, effort),
      );
      if (clock.monotonic() - beganAt < ARTIFACT_LIMITS.graceMs / 2) return collected;
    }
  }

  workspaceOf(id: AllocationId): string {
    return join(this.#options.directory, id, 'work');
  }

  #effort(allocationId: AllocationId, signal: AbortSignal): Effort {
    const { clock, random, log } = this.#options;
    const waits = (error: unknown, delayMs: number): void =>
      log.warn('staging waits', { allocationId, reason: (error as Error).message, delayMs });
    return { clock, random, signal, waits };
  }

  async recover(allocationIds: readonly AllocationId[]): Promise<void> {
    const { directory } = this.#options;
    await mkdir(directory, { recursive: true, mode: 0o700 });
    for (const name of await readdir(directory)) this.#present.add(name as AllocationId);
    const known = new Set(allocationIds);
    await this.#network.recover([...this.#present].filter((id) => known.has(id)));
    for (const id of [...this.#present]) if (!known.has(id)) await this.remove(id);
  }

  async remove(allocationId: AllocationId): Promise<void> {
    if (!this.#present.has(allocationId)) return;
    const folder = join(this.#options.directory, allocationId);
    await unmountBelow(folder);
    await rm(folder, { recursive: true, force: true });
    this.#network.release(allocationId);
    this.#present.delete(allocationId);
  }

  close(): Promise<void> {
    return this.#network.close();
  }

  #record(id: AllocationId): string {
    return join(this.#options.directory, id, 'inputs.json');
  }

  async #bring(
    input: InputOrder,
    position: number,
    { workspace, effort }: { readonly workspace: string; readonly effort: Effort },
  ): Promise<StoredOutput> {
    try {
      const source = sourceOf(input, this.#options);
      const file = await createFile(workspace, input.to, input.mode ?? INPUT_MODE);
      try {
        const artifact = await fetchInto(file, source, effort);
        if (input.sha256 !== undefined && artifact.sha256 !== input.sha256) throw wrongDigest(artifact, input.sha256);
        return { path: input.to, ...artifact };
      } finally {
        await file.close();
      }
    } catch (error) {
      effort.signal.throwIfAborted();
      throw new AppError('task-start-failed', `${describe(input, position)}: ${(error as Error).message}`, {
        cause: error,
      });
    }
  }

  async #prepare(order: StartOrder, { workspace, view, signal }: PrepareParts): Promise<PreparedOrder> {
    const seenWorkspace = view.kind === 'node' ? workspace : view.workspace(order.allocationId);
    const ownMounts = join(workspace, '..', 'mounts');
    const places = { workspace, seenWorkspace, ownMounts, view: view.kind, allocationId: order.allocationId, signal };
    const { mounts, env } = await this.#volumes.provide(order.volumes ?? [], places);
    // A container's user is known to its image alone; the folder above is the agent's alone.
    if (view.kind === 'container') await shareWithAll(workspace);
    const ownMount = { kind: 'folder', source: workspace, target: seenWorkspace, readOnly: false } as const;
    return {
      ...order,
      env: { ...order.env, BERTH_WORKSPACE: seenWorkspace, ...env },
      workdir: order.workdir ?? seenWorkspace,
      mounts: view.kind === 'node' ? [] : [ownMount, ...mounts],
    };
  }
}

interface PrepareParts {
  readonly workspace: string;
  readonly view: TaskView;
  readonly signal: AbortSignal;
}

function wrongDigest({ sha256 }: { readonly sha256: string }, expected: string): AppError {
  return new AppError('digest-mismatch', `it has the SHA-256 ${sha256}, not ${expected}; has the file changed?`);
}

/** The input as a message names it; what follows a question mark may be a password. */
function describe({ source, to }: InputOrder, position: number): string {
  if (source.kind === 'fault') return 'inputs';
  const from = source.kind === 'url' ? source.url.replace(/\?.*$/s, '?…') : 'content';
  return `inputs[${position}] "${to}" from ${from}`;
}
