import { type ChildProcess, spawn } from 'node:child_process';
import { closeSync, mkdirSync, openSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { AppError } from '../../shared/errors.js';
import type { NodeView } from './api.js';
import { ApiClient } from './client.js';
import { findCoordinator } from './config.js';
import type { Context } from './context.js';
import { isPassing, pause } from './retry.js';

export interface ClusterOptions {
  readonly stateDir: string;
  readonly coordinatorFlags: readonly string[];
  readonly agentFlags: readonly string[];
  readonly signal: AbortSignal;
}

const ENTRY = fileURLToPath(new URL('../../scripts/entry.js', import.meta.url));
const READY_MS = 30_000;
const POLL_MS = 50;
/** After a polite request; then it is killed. */
const STOP_MS = 10_000;
const LOG_TAIL_LINES = 15;

/** One of the two daemons as our child, in a process group of its own: Ctrl-C reaches us alone, and we set the order. */
interface Daemon {
  readonly name: 'coordinator' | 'agent';
  readonly child: ChildProcess;
  readonly over: Promise<AppError>;
}

/** A coordinator and an agent on this machine, from their start to their end. */
export class LocalCluster {
  readonly #context: Context;
  readonly #options: ClusterOptions;
  readonly #daemons: Daemon[] = [];

  constructor(context: Context, options: ClusterOptions) {
    this.#context = context;
    this.#options = options;
  }

  /** Starts both and resolves when the node takes tasks. Throws with the end of a log when one of them ends. */
  async start(): Promise<{ readonly url: string; readonly node: NodeView }> {
    const { stateDir, coordinatorFlags, agentFlags } = this.#options;
    mkdirSync(stateDir, { recursive: true, mode: 0o700 });
    const coordinatorDir = join(stateDir, 'coordinator');
    const coordinator = this.#spawn('coordinator', ['--state-dir', coordinatorDir, ...coordinatorFlags]);
    const url = await this.#ready(() => this.#urlOf(coordinator, join(coordinatorDir, 'coordinator.json')));
    this.#spawn('agent', [
      ...['--state-dir', join(stateDir, 'agent'), '--url', url],
      // Tasks of a trial are its user's own.
      ...['--isolation', 'none'],
      ...['--token-file', join(coordinatorDir, 'agent.token'), ...agentFlags],
    ]);
    const node = await this.#ready(() => this.#readyNode(coordinatorDir));
    return { url, node };
  }

  /** Rejects when one of them ends, or when the signal is aborted. */
  async untilOver(): Promise<never> {
    const { signal } = this.#options;
    const aborted = new Promise<never>((_, reject) => {
      if (signal.aborted) reject(signal.reason);
      signal.addEventListener('abort', () => reject(signal.reason), { once: true });
    });
    return Promise.race([aborted, ...this.#daemons.map(async ({ over }) => Promise.reject(await over))]);
  }

  /** The agent first, so that it does not look for a coordinator that is gone. */
  async stop(): Promise<void> {
    for (const { child, over } of this.#daemons.toReversed()) {
      child.kill('SIGTERM');
      const cancelKill = this.#context.clock.after(STOP_MS, () => child.kill('SIGKILL'));
      await over;
      cancelKill();
    }
  }

  #spawn(name: Daemon['name'], flags: readonly string[]): ChildProcess {
    const logFile = join(this.#options.stateDir, `${name}.log`);
    const log = openSync(logFile, 'a', 0o600);
    const child = spawn(process.execPath, [ENTRY, name, ...flags], { stdio: ['ignore', log, log], detached: true });
    closeSync(log);
    const over = new Promise<AppError>((resolve) => {
      child.on('error', (error) => resolve(new AppError('internal', `cannot start the ${name}`, { cause: error })));
      child.on('exit', (code, signal) => {
        const how = signal === null ? `with exit code ${code}` : `by ${signal}`;
        resolve(new AppError('internal', `the ${name} ended ${how}; the end of ${logFile}:\n${tailOf(logFile)}`));
      });
    });
    this.#daemons.push({ name, child, over });
    return child;
  }

  /** Asks until there is an answer. Throws when a daemon ends first, or after READY_MS. */
  async #ready<T>(ask: () => Promise<T | undefined>): Promise<T> {
    const { clock } = this.#context;
    const failed = this.#daemons.map(async ({ over }) => Promise.reject(await over));
    const until = clock.monotonic() + READY_MS;
    while (clock.monotonic() < until) {
      const answer = await Promise.race([ask(), ...failed]);
      if (answer !== undefined) return answer;
      await Promise.race([pause(clock, POLL_MS, this.#options.signal), ...failed]);
    }
    throw new AppError(
      'internal',
      `Berth is not ready after ${READY_MS / 1000} s; see the logs in ${this.#options.stateDir}`,
    );
  }

  /** The address that this very coordinator wrote, not one before it. */
  async #urlOf(coordinator: ChildProcess, file: string): Promise<string | undefined> {
    try {
      const { pid, url } = JSON.parse(readFileSync(file, 'utf8')) as { pid: number; url: string };
      return pid === coordinator.pid ? url : undefined;
    } catch {
      // Not there yet, or half written.
      return undefined;
    }
  }

  async #readyNode(coordinatorDir: string): Promise<NodeView | undefined> {
    const config = { ...this.#context.config, url: undefined, token: undefined, tokenFile: undefined };
    const api = new ApiClient({
      locate: () => findCoordinator({ ...config, stateDir: coordinatorDir }),
      clock: this.#context.clock,
    });
    try {
      const { nodes } = await api.get<{ nodes: readonly NodeView[] }>('/nodes');
      return nodes.find((node) => node.link === 'connected');
    } catch (error) {
      if (isPassing(error)) return undefined;
      throw error;
    }
  }
}

function tailOf(file: string): string {
  return readFileSync(file, 'utf8').trimEnd().split('\n').slice(-LOG_TAIL_LINES).join('\n');
}
