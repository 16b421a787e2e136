import type { Readable } from 'node:stream';
import type Docker from 'dockerode';
import type { ContainerInspectInfo } from 'dockerode';
import { sleep } from '../../../shared/clock.js';
import type { Log } from '../../../shared/log.js';
import type { DriverEnd, DriverEvent, PreparedOrder } from '../driver.js';
import { type CreationOptions, createdContainer } from './container-creation.js';
import { IMAGE_LABEL } from './container-options.js';
import { type ContainerRun, factsOf } from './container-run.js';
import { DOWN_POLL_MS, whileDown } from './daemon-down.js';
import { endAfterRestart, endOf, endOfRefusal, hasStarted, instantOf } from './ends.js';
import { inspectContainer } from './engine.js';
import { faultKind, faultText } from './faults.js';
import { killLeftovers } from './leftovers.js';
import { OutputWriter } from './output-writer.js';

export interface ContainerLifeOptions extends CreationOptions {
  readonly log: Log;
  readonly tell: (event: DriverEvent) => void;
}

type State = ContainerInspectInfo['State'];

const DISCARD_RETRY_MS = 2_000;
const KILLED_STATUS = 137;
const OOM_WAIT_MS = 200;
const GONE: DriverEnd = { kind: 'lost', message: 'its container was removed by somebody else' };
const UNANSWERED: DriverEnd = { kind: 'lost', message: 'the Docker daemon ended while it started the container' };

type StartAnswer = 'started' | 'started before the daemon ended' | 'unanswered';

/** Takes a container from its order, or from wherever an earlier process left it, to its end. */
export class ContainerLife {
  readonly #options: ContainerLifeOptions;

  constructor(options: ContainerLifeOptions) {
    this.#options = options;
  }

  async begin(run: ContainerRun, order: PreparedOrder): Promise<void> {
    let end: DriverEnd | null;
    try {
      const { container, stream } = await createdContainer(run, order, this.#options);
      end = await this.#startAndFollow(run, container, stream).finally(() => stream.destroy());
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

  /**
   * Completes the output of a container that has ended, and says how it did. A daemon without live restore stops what
   * still runs when it is back, which its own history tells, and the container's state does not.
   */
  async finish(run: ContainerRun, state: State): Promise<DriverEnd> {
    run.phase = 'running';
    const wasStopped = await this.#hasHappened(run, state, 'stop');
    const end =
      (await this.#followToEnd(run, null, wasStopped ? 'started before the daemon ended' : 'started')) ?? GONE;
    this.over(run, end);
    return end;
  }

  /** Nothing of the attempt is alive any more. */
  over(run: ContainerRun, end: DriverEnd): void {
    run.end = end;
    run.phase = 'ended';
    this.#options.secrets?.remove(run.id);
    run.tellOver();
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

  /** Removes a container, running or not; as soon as the daemon is back, if it is away. Idempotent. */
  async discard(name: string): Promise<void> {
    const { clock, closing, docker, log } = this.#options;
    try {
      const found = await inspectContainer(docker, name);
      const leftCount = found && !hasStarted(found.State) ? killLeftovers(found.Id) : 0;
      if (leftCount > 0) log.warn('a container ran that Docker did not know to run', { container: name, leftCount });
      await docker.getContainer(name).remove({ force: true, v: true });
    } catch (error) {
      const kind = faultKind(error);
      if (kind === 'down' && !closing.aborted)
        clock.after(DISCARD_RETRY_MS, () => void this.discard(name).catch(() => {}));
      // 409: somebody removes it already.
      else if (kind !== 'absent' && kind !== 'conflict') throw error;
    }
  }

  async #startAndFollow(run: ContainerRun, container: Docker.Container, stream: Readable): Promise<DriverEnd | null> {
    run.abort.signal.throwIfAborted();
    this.#options.spool.begin(run.id);
    run.phase = 'starting';
    const answer = await this.#start(run, container);
    if (answer === 'unanswered') return UNANSWERED;
    run.phase = 'running';
    this.#options.tell({ kind: 'started', allocationId: run.id });
    if (run.earlySignal !== null) await this.signal(run, run.earlySignal);
    return this.#followToEnd(run, stream, answer);
  }

  /** Unanswered when a daemon died over it and never says that it did: it may have, and is not asked twice. */
  async #start(run: ContainerRun, container: Docker.Container): Promise<StartAnswer> {
    try {
      await container.start();
      return 'started';
    } catch (error) {
      if (faultKind(error) !== 'down') throw error;
      const found = await whileDown(run, this.#options, () => inspectContainer(this.#options.docker, run.name));
      if (found && hasStarted(found.State)) return 'started before the daemon ended';
      await this.discard(run.name);
      return 'unanswered';
    }
  }

  /**
   * Until the container has ended and its output is whole; null when the driver is closed first. A stream that ends
   * early means that the daemon went away; its own copy of the output then tells what was written since.
   */
  async #followToEnd(
    run: ContainerRun,
    attached: Readable | null,
    answer: StartAnswer = 'started',
  ): Promise<DriverEnd | null> {
    const { clock, closing, spool } = this.#options;
    const writer = new OutputWriter(spool, run.id, this.#options);
    // A daemon that has been away since may have killed the container, and its copy alone has all of the output.
    let wasAway = answer !== 'started';
    let isExact = attached !== null && !wasAway;
    // Asked while its output still comes: by the time that is whole, the answer to this is mostly here. If it is not, it is
    // asked anew, for a daemon that is killed answers never, and does not even hang up.
    let early: ContainerInspectInfo | undefined;
    if (attached) {
      this.#ended(run).then(
        (found) => {
          early = found;
        },
        () => {
          isExact = false;
          wasAway = true;
        },
      );
    }
    try {
      if (attached) await this.#untilClosed(attached, writer.drain(attached));
      while (!closing.aborted) {
        try {
          if (!isExact) await this.#drainLogs(run, writer);
          const { State, Config } = early ?? (await this.#ended(run));
          run.image ??= Config.Labels[IMAGE_LABEL] ?? null;
          if (!hasStarted(State)) return UNANSWERED;
          const state = await this.#withOom(run, State);
          // Whoever follows the copy may be sent away a line too early.
          if (!isExact) await this.#drainLogs(run, writer);
          return wasAway ? endAfterRestart(state, run.lastSignal) : endOf(state);
        } catch (error) {
          if (faultKind(error) === 'absent') return GONE;
          if (!wasAway && !closing.aborted) this.#warn(run, error);
          isExact = false;
          wasAway = true;
          await sleep(clock, DOWN_POLL_MS);
        }
      }
      return null;
    } finally {
      writer.close();
    }
  }

  /** Docker's own copy of the output, less what is on file of it already; ends with the container. */
  async #drainLogs(run: ContainerRun, writer: OutputWriter): Promise<void> {
    const container = this.#options.docker.getContainer(run.name);
    const logs = (await container.logs({ follow: true, stdout: true, stderr: true })) as unknown as Readable;
    await this.#untilClosed(logs, writer.drainCopy(logs));
  }

  async #untilClosed(source: Readable, drained: Promise<void>): Promise<void> {
    const stop = (): void => void source.destroy();
    this.#options.closing.addEventListener('abort', stop, { once: true });
    await drained;
    this.#options.closing.removeEventListener('abort', stop);
  }

  /** The kernel's word for memory may come after that for the end, and Docker then keeps it as an event alone. */
  async #withOom(run: ContainerRun, state: State): Promise<State> {
    if (state.ExitCode !== KILLED_STATUS || state.OOMKilled || run.lastSignal !== null) return state;
    await sleep(this.#options.clock, OOM_WAIT_MS);
    return (await this.#hasHappened(run, state, 'oom')) ? { ...state, OOMKilled: true } : state;
  }

  /** Whether the daemon remembers it of the container; it keeps its newest events, and none from before its start. */
  async #hasHappened(run: ContainerRun, { StartedAt }: State, event: 'oom' | 'stop'): Promise<boolean> {
    const { clock, docker } = this.#options;
    const since = Math.floor((instantOf(StartedAt) ?? 0) / 1_000);
    const until = Math.ceil(clock.now() / 1_000);
    const filters = { container: [run.name], event: [event] };
    const events = (await docker.getEvents({ since, until, filters })) as unknown as Readable;
    let isKnown = false;
    for await (const _ of events) isKnown = true;
    return isKnown;
  }

  async #ended(run: ContainerRun): Promise<ContainerInspectInfo> {
    const { closing, docker } = this.#options;
    const container = docker.getContainer(run.name);
    await container.wait({ condition: 'not-running', abortSignal: closing });
    return container.inspect();
  }

  #end(run: ContainerRun, end: DriverEnd | null): void {
    if (end === null || this.#options.closing.aborted) return;
    this.over(run, end);
    const output = this.#options.spool.outputBytes(run.id);
    this.#options.tell({ kind: 'ended', allocationId: run.id, end, output, ...factsOf(run) });
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
