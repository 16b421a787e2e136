import type Docker from 'dockerode';
import type { Clock } from '../../../shared/clock.js';
import { AppError } from '../../../shared/errors.js';
import { type AllocationId, parseAllocationId } from '../../../shared/ids.js';
import type { Log } from '../../../shared/log.js';
import type { Random } from '../../../shared/random.js';
import type { LogStream, RegistryAuth } from '../../../shared/wire/messages.js';
import { noteBoot, REBOOTED } from '../boot.js';
import type {
  DriverEnd,
  DriverFactory,
  DriverListener,
  Preparations,
  PreparedOrder,
  Recovery,
  TaskDriver,
} from '../driver.js';
import { bytesFrom } from '../output-file.js';
import type { SecretFolder } from '../secret-folder.js';
import type { TaskBase } from '../task-environment.js';
import { ContainerLife } from './container-life.js';
import { ALLOCATION_LABEL, containerName, OWNER_LABEL } from './container-options.js';
import { type ContainerRun, factsOf, newRun } from './container-run.js';
import type { DockerPolicy } from './docker-policy.js';
import { hasStarted, instantOf } from './ends.js';
import { engineKindOf, inspectContainer } from './engine.js';
import { faultKind, faultText } from './faults.js';
import { ImageKeeper } from './image-keeper.js';
import { Images } from './images.js';
import { Spool } from './spool.js';

export interface DockerDriverOptions {
  /** The driver's own directory; made when missing. */
  readonly directory: string;
  readonly docker: Docker;
  readonly bootId: string;
  /** What tasks are told; the node's own variables mean nothing in an image. */
  readonly task: TaskBase;
  readonly policy: DockerPolicy;
  /** Absent where there is no place in memory; then no order has secrets. */
  readonly secrets?: SecretFolder | undefined;
  readonly imageHighWaterPercent: number;
  readonly credentials: (registry: string) => RegistryAuth | undefined;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
}

const KILL_LIMIT_MS = 60_000;

/** Runs attempts as containers of a Docker daemon, or of whatever else speaks its API. */
export function dockerDriver(options: DockerDriverOptions): DriverFactory {
  return async (listener) => new DockerDriver(options, listener);
}

/**
 * A container has the allocation's name, so that Docker itself refuses a second one, and a start that nobody saw the
 * answer of is never repeated: its spool files, made before, tell a later process of it.
 */
class DockerDriver implements TaskDriver {
  readonly preparations: Preparations = { of: (id) => this.#runs.get(id)?.pull ?? undefined };
  readonly #options: DockerDriverOptions;
  readonly #spool: Spool;
  readonly #owner: string;
  readonly #wasRebooted: boolean;
  readonly #life: ContainerLife;
  readonly #keeper: ImageKeeper;
  readonly #runs = new Map<AllocationId, ContainerRun>();
  readonly #closing = new AbortController();

  constructor(options: DockerDriverOptions, listener: DriverListener) {
    this.#options = options;
    this.#spool = new Spool(options.directory);
    this.#owner = this.#spool.owner(options.random);
    this.#wasRebooted = noteBoot(this.#spool.bootNote, options.bootId);
    const { imageHighWaterPercent: highWaterPercent } = options;
    this.#keeper = new ImageKeeper({ ...options, highWaterPercent, path: this.#spool.images });
    this.#life = new ContainerLife({
      ...options,
      engineKind: engineKindOf(options.docker),
      images: new Images({ ...options, keeper: this.#keeper }),
      spool: this.#spool,
      owner: this.#owner,
      closing: this.#closing.signal,
      tell: (event) => {
        if (!this.#closing.signal.aborted) listener(event);
      },
    });
  }

  async start(order: PreparedOrder): Promise<void> {
    const id = order.allocationId;
    if (this.#runs.has(id)) return;
    if (!parseAllocationId(id)) throw new AppError('task-start-failed', `"${id}" is no allocation id`);
    void this.#life.begin(this.#add(id), order);
  }

  async signal(allocationId: AllocationId, signal: string): Promise<void> {
    const run = this.#runs.get(allocationId);
    if (!run || run.phase === 'ended' || this.#closing.signal.aborted) return;
    if (run.phase !== 'running') {
      run.earlySignal ??= signal;
      if (signal === 'SIGKILL') run.earlySignal = signal;
      run.abort.abort(new Error('stopped before it started'));
    } else await this.#life.signal(run, signal);
    if (signal === 'SIGKILL') await this.#gone(run);
  }

  async recover(allocationIds: readonly AllocationId[]): Promise<ReadonlyMap<AllocationId, Recovery>> {
    const wanted = new Set(allocationIds);
    const recoveries = await Promise.all(allocationIds.map(async (id) => [id, await this.#recoverOne(id)] as const));
    for (const id of this.#spool.attempts()) if (!wanted.has(id) && !this.#runs.has(id)) this.#spool.remove(id);
    const alive = [...this.#runs.values()].filter(({ phase }) => phase !== 'ended').map(({ id }) => id);
    this.#options.secrets?.keepOnly(new Set(alive));
    await this.#sweep(wanted);
    return new Map(recoveries);
  }

  async read(id: AllocationId, stream: LogStream, offset: number, maxBytes: number): Promise<Uint8Array> {
    return bytesFrom(this.#spool.output(id, stream), offset, maxBytes);
  }

  async remove(allocationId: AllocationId): Promise<void> {
    const run = this.#runs.get(allocationId);
    if (run && run.phase !== 'ended') return;
    await this.#life.discard(containerName(this.#owner, allocationId));
    this.#runs.delete(allocationId);
    this.#spool.remove(allocationId);
    void this.#keeper.collect();
  }

  async close(): Promise<void> {
    if (this.#closing.signal.aborted) return;
    this.#closing.abort(new Error('the driver is closed'));
    for (const run of this.#runs.values()) {
      run.abort.abort(this.#closing.signal.reason);
      run.tellOver();
    }
  }

  #add(id: AllocationId): ContainerRun {
    const run = newRun(id, containerName(this.#owner, id));
    this.#runs.set(id, run);
    return run;
  }

  async #gone(run: ContainerRun): Promise<void> {
    let isLate = false;
    const late = new Promise<void>((resolve) => {
      this.#options.clock.after(KILL_LIMIT_MS, () => {
        isLate = true;
        resolve();
      });
    });
    await Promise.race([run.over, late]);
    if (isLate && run.phase !== 'ended') throw new AppError('internal', `container ${run.name} survives SIGKILL`);
  }

  async #recoverOne(id: AllocationId): Promise<Recovery> {
    const known = this.#runs.get(id);
    if (known?.end) {
      return { kind: 'ended', end: known.end, output: this.#spool.outputBytes(id), ...factsOf(known) };
    }
    const run = known ?? newRun(id, containerName(this.#owner, id));
    if (this.#wasRebooted) return this.#lost(run, REBOOTED);
    try {
      const found = await inspectContainer(this.#options.docker, run.name);
      if (!found || !hasStarted(found.State)) return await this.#unstarted(run);
      this.#runs.set(id, run);
      if (!found.State.Running) {
        const end = await this.#life.finish(run, found.State);
        return { kind: 'ended', end, output: this.#spool.outputBytes(id), ...factsOf(run) };
      }
      void this.#life.takeUp(run);
      return { kind: 'running', startedAgeMs: this.#ageOf(instantOf(found.State.StartedAt)) };
    } catch (error) {
      if (faultKind(error) !== 'down') throw error;
      // Docker is away, its containers may go on: what was begun is believed to run until it can be asked.
      if (!this.#spool.hasBegun(id)) return { kind: 'absent' };
      this.#runs.set(id, run);
      void this.#life.takeUp(run);
      return { kind: 'running', startedAgeMs: this.#ageOf(this.#spool.begunAt(id)) };
    }
  }

  /** Never started, as far as Docker knows. If the start was asked for, nobody knows. */
  async #unstarted(run: ContainerRun): Promise<Recovery> {
    if (this.#spool.hasBegun(run.id)) {
      return this.#lost(run, { kind: 'lost', message: 'the agent ended while its container was being started' });
    }
    await this.#life.discard(run.name);
    return { kind: 'absent' };
  }

  async #lost(run: ContainerRun, end: DriverEnd): Promise<Recovery> {
    this.#runs.set(run.id, run);
    this.#life.over(run, end);
    await this.#life.discard(run.name).catch((error: unknown) => this.#warn('container is left', error));
    return { kind: 'ended', end, output: this.#spool.outputBytes(run.id) };
  }

  /** Containers of ours that no attempt of interest has: of an agent state that was lost, or of a removal cut short. */
  async #sweep(wanted: ReadonlySet<AllocationId>): Promise<void> {
    try {
      const filters = { label: [`${OWNER_LABEL}=${this.#owner}`] };
      const containers = await this.#options.docker.listContainers({ all: true, filters });
      for (const { Id, Labels } of containers) {
        const id = Labels[ALLOCATION_LABEL] as AllocationId;
        if (!wanted.has(id) && !this.#runs.has(id)) await this.#life.discard(Id);
      }
    } catch (error) {
      this.#warn('containers could not be swept', error);
    }
  }

  #ageOf(startedAt: number | null): number {
    return startedAt === null ? 0 : Math.max(0, this.#options.clock.now() - startedAt);
  }

  #warn(message: string, error: unknown): void {
    this.#options.log.warn(message, { error: faultText(error) });
  }
}
