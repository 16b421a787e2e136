import type { Readable } from 'node:stream';
import type Docker from 'dockerode';
import type { ContainerInspectInfo } from 'dockerode';
import { type Clock, sleep } from '../../../shared/clock.js';
import type { Log } from '../../../shared/log.js';
import type { StartOrder } from '../../../shared/wire/messages.js';
import type { DriverEnd, DriverEvent, OutputBytes } from '../driver.js';
import type { TaskBase } from '../task-environment.js';
import { containerOptions } from './container-options.js';
import type { ContainerRun } from './container-run.js';
import { type DockerPolicy, forbidden } from './docker-policy.js';
import { endAfterRestart, endOf, endOfRefusal, hasStarted } from './ends.js';
import { faultKind, faultText, StartFault } from './faults.js';
import type { Images } from './images.js';
import { OutputWriter } from './output-writer.js';
import type { Spool } from './spool.js';

export interface ContainerLifeOptions {
  readonly docker: Docker;
  readonly images: Images;
  readonly spool: Spool;
  readonly owner: string;
  readonly task: TaskBase;
  readonly policy: DockerPolicy;
  readonly clock: Clock;
  readonly log: Log;
  /** Aborted when the driver is closed: containers go on, and nothing more is said of them. */
  readonly closing: AbortSignal;
  readonly tell: (event: DriverEvent) => void;
}

type State = ContainerInspectInfo['State'];

/** How often a daemon that is away is asked again. */
const DOWN_POLL_MS = 250;
/** An attempt that has not started does not wait longer for a daemon: another node may have one. */
const MAX_DOWN_MS = 120_000;
const NO_BYTES: OutputBytes = { stdoutBytes: 0, stderrBytes: 0 };
const GONE: DriverEnd = { kind: 'lost', message: 'its container was removed by somebody else' };
const UNANSWERED: DriverEnd = { kind: 'lost', message: 'the Docker daemon ended while it started the container' };

/** Takes a container from its order, or from wherever an earlier process left it, to its end. */
export class ContainerLife {
  readonly #options: ContainerLifeOptions;

  constructor(options: ContainerLifeOptions) {
    this.#options = options;
  }

  async begin(run: ContainerRun, order: StartOrder): Promise<void> {
    let end: DriverEnd | null;
    try {
      end = await this.#startAndFollow(run, await this.#prepared(run, order));
    } catch (error) {
      end = endOfFault(run, error);
      if (!this.#options.closing.aborted) await this.discard(run.name).catch((left) => this.#warn(run, left));
    }
    this.#end(run, end);
  }

  /** Follows a container that an earlier process started, first through what Docker kept of its output. */
  async takeUp(run: ContainerRun): Promise<void> {
    run.phase = 'running';
    this.#end(run, await this.#followToEnd(run, null));
  }

  /** Completes the output of a container that has ended, and says how it did. */
  async finish(run: ContainerRun): Promise<DriverEnd> {
    run.phase = 'running';
    run.end = (await this.#followToEnd(run, null)) ?? GONE;
    run.phase = 'ended';
    run.tellOver();
    return run.end;
  }

  /** A container that is not there, or has ended, is no error. */
  async signal(run: ContainerRun, signal: string): Promise<void> {
    run.lastSignal = signal;
    try {
      await this.#options.docker.getContainer(run.name).kill({ signal });
    } catch (error) {
      const kind = faultKind(error);
      if (kind !== 'absent' && kind !== 'conflict') throw error;
    }
  }

  async inspect(name: string): Promise<ContainerInspectInfo | undefined> {
    try {
      return await this.#options.docker.getContainer(name).inspect();
    } catch (error) {
      if (faultKind(error) === 'absent') return undefined;
      throw error;
    }
  }

  /** Removes a container, running or not. Idempotent. */
  async discard(name: string): Promise<void> {
    try {
      await this.#options.docker.getContainer(name).remove({ force: true, v: true });
    } catch (error) {
      const kind = faultKind(error);
      // 409: somebody removes it already.
      if (kind !== 'absent' && kind !== 'conflict') throw error;
    }
  }

  /** A container that was never started, with its image there; tries again while the daemon is away. */
  async #prepared(run: ContainerRun, order: StartOrder): Promise<Docker.Container> {
    const { images, spool, owner, task, policy } = this.#options;
    const refused = forbidden(order.container ?? {}, policy);
    if (refused !== undefined) throw new StartFault('node', refused);
    if (order.run.kind === 'script') spool.writeScript(run.id, order.run.script);
    return this.#whileDown(run, async () => {
      const image = await images.ready({
        image: order.image ?? '',
        pull: order.container?.pull ?? 'missing',
        ...(order.registryAuth === undefined ? {} : { auth: order.registryAuth }),
        signal: run.abort.signal,
        progress: () => {},
      });
      run.abort.signal.throwIfAborted();
      const place = { owner, imageId: image.id, script: spool.script(run.id), base: task, policy };
      return this.#created(run, containerOptions(order, place));
    });
  }

  async #created(run: ContainerRun, options: Docker.ContainerCreateOptions): Promise<Docker.Container> {
    const { docker } = this.#options;
    try {
      return await docker.createContainer(options);
    } catch (error) {
      // An earlier try of ours made it, whose answer never came.
      if (faultKind(error) !== 'conflict') throw error;
      const found = await this.inspect(run.name);
      if (found && !hasStarted(found.State)) return docker.getContainer(found.Id);
      throw error;
    }
  }

  async #startAndFollow(run: ContainerRun, container: Docker.Container): Promise<DriverEnd | null> {
    const stream = (await container.attach({ stream: true, stdout: true, stderr: true })) as unknown as Readable;
    try {
      run.abort.signal.throwIfAborted();
      this.#options.spool.begin(run.id);
      run.phase = 'starting';
      if (!(await this.#start(run, container))) return UNANSWERED;
      run.phase = 'running';
      this.#options.tell({ kind: 'started', allocationId: run.id });
      if (run.earlySignal !== null) await this.signal(run, run.earlySignal);
      return await this.#followToEnd(run, stream);
    } finally {
      stream.destroy();
    }
  }

  /** False when a daemon died over it and never says that it did: it may have, and is not asked twice. */
  async #start(run: ContainerRun, container: Docker.Container): Promise<boolean> {
    try {
      await container.start();
      return true;
    } catch (error) {
      if (faultKind(error) !== 'down') throw error;
      const found = await this.#whileDown(run, () => this.inspect(run.name));
      if (found && hasStarted(found.State)) return true;
      await this.discard(run.name);
      return false;
    }
  }

  /**
   * Until the container has ended and its output is whole; null when the driver is closed first. A stream that ends
   * early means that the daemon went away; its own copy of the output then tells what was written since.
   */
  async #followToEnd(run: ContainerRun, attached: Readable | null): Promise<DriverEnd | null> {
    const { clock, closing, spool } = this.#options;
    const writer = new OutputWriter(spool, run.id, this.#options);
    let source = attached;
    let since: number | null = null;
    let wasAway = false;
    try {
      while (!closing.aborted) {
        try {
          source ??= await this.#logs(run, since);
          await this.#drain(writer, source, attached || since !== null ? NO_BYTES : spool.outputBytes(run.id));
          source = null;
          since = clock.now();
          const state = await this.#ended(run);
          if (!hasStarted(state)) return UNANSWERED;
          return wasAway ? endAfterRestart(state, run.lastSignal) : endOf(state);
        } catch (error) {
          if (faultKind(error) === 'absent') return GONE;
          if (!wasAway && !closing.aborted) this.#warn(run, error);
          wasAway = true;
          await sleep(clock, DOWN_POLL_MS);
        }
      }
      return null;
    } finally {
      writer.close();
    }
  }

  async #drain(writer: OutputWriter, source: Readable, known: OutputBytes): Promise<void> {
    const stop = (): void => void source.destroy();
    this.#options.closing.addEventListener('abort', stop, { once: true });
    await writer.drain(source, known);
    this.#options.closing.removeEventListener('abort', stop);
  }

  /** Docker's own copy of the output: of all, or of what was written since an instant. It ends with the container. */
  async #logs(run: ContainerRun, since: number | null): Promise<Readable> {
    const container = this.#options.docker.getContainer(run.name);
    const all = { follow: true, stdout: true, stderr: true } as const;
    const logs = await container.logs(since === null ? all : { ...all, since: (since / 1_000).toFixed(3) });
    return logs as unknown as Readable;
  }

  async #ended(run: ContainerRun): Promise<State> {
    const { closing, docker } = this.#options;
    const container = docker.getContainer(run.name);
    await container.wait({ condition: 'not-running', abortSignal: closing });
    return (await container.inspect()).State;
  }

  async #whileDown<Value>(run: ContainerRun, act: () => Promise<Value>): Promise<Value> {
    const { clock, closing } = this.#options;
    const until = clock.monotonic() + MAX_DOWN_MS;
    for (;;) {
      try {
        return await act();
      } catch (error) {
        const isStopped = closing.aborted || (run.phase === 'preparing' && run.abort.signal.aborted);
        if (faultKind(error) !== 'down' || isStopped || clock.monotonic() >= until) throw error;
        await sleep(clock, DOWN_POLL_MS);
      }
    }
  }

  #end(run: ContainerRun, end: DriverEnd | null): void {
    if (end === null || this.#options.closing.aborted) return;
    run.end = end;
    run.phase = 'ended';
    run.tellOver();
    this.#options.tell({ kind: 'ended', allocationId: run.id, end, output: this.#options.spool.outputBytes(run.id) });
  }

  #warn(run: ContainerRun, error: unknown): void {
    this.#options.log.warn('trouble with Docker', { allocationId: run.id, error: faultText(error) });
  }
}

/** Stopped before it started, or what Docker said. */
function endOfFault(run: ContainerRun, error: unknown): DriverEnd {
  if (run.earlySignal !== null && run.phase === 'preparing') {
    return { kind: 'signaled', signal: run.earlySignal, ranMs: 0 };
  }
  return endOfRefusal(error);
}
