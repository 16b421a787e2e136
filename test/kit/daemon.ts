import { type ChildProcess, spawn } from 'node:child_process';
import { closeSync, openSync, readFileSync } from 'node:fs';

export interface DaemonOptions {
  readonly name: string;
  readonly argv: readonly string[];
  /** The whole environment of the daemon. */
  readonly env: Readonly<Record<string, string>>;
  /** Its stdout and stderr, appended to over all its lives. */
  readonly logFile: string;
  /** Resolves true once it serves. Asked again every READY_POLL_MS. */
  readonly isReady: () => Promise<boolean>;
}

const READY_POLL_MS = 25;
const READY_LIMIT_MS = 90_000;
const STOP_LIMIT_MS = 30_000;
const LOG_TAIL_LINES = 20;

/** A real process of ours that can be killed and started again as the same daemon: same folder, same port. */
export class Daemon {
  readonly name: string;
  readonly #options: DaemonOptions;
  #child: ChildProcess | undefined;
  #exited: Promise<number | null> = Promise.resolve(null);

  constructor(options: DaemonOptions) {
    this.name = options.name;
    this.#options = options;
  }

  get isRunning(): boolean {
    const child = this.#child;
    return child !== undefined && child.exitCode === null && child.signalCode === null;
  }

  /** Throws when the daemon does not run. */
  get pid(): number {
    const pid = this.isRunning ? this.#child?.pid : undefined;
    if (pid === undefined) throw new Error(`${this.name} is not running`);
    return pid;
  }

  /** What the daemon has written so far. */
  get log(): string {
    return readFileSync(this.#options.logFile, 'utf8');
  }

  /** Starts the process and waits until it serves. Throws with the end of its log when it does not. */
  async start(): Promise<void> {
    this.launch();
    await this.waitUntilReady();
  }

  /** Starts the process and returns at once. */
  launch(): void {
    const { argv, env, logFile, name } = this.#options;
    if (this.isRunning) throw new Error(`${name} runs already`);
    const log = openSync(logFile, 'a');
    const [file = '', ...args] = argv;
    const child = spawn(file, args, { env, stdio: ['ignore', log, log] });
    closeSync(log);
    this.#child = child;
    this.#exited = new Promise((resolve) => {
      child.on('exit', (code) => resolve(code));
      child.on('error', () => resolve(null));
    });
  }

  async waitUntilReady(): Promise<void> {
    const until = Date.now() + READY_LIMIT_MS;
    while (!(await this.#options.isReady())) {
      if (!this.isRunning) throw new Error(`${this.name} ended at start:\n${this.#logTail()}`);
      if (Date.now() > until) throw new Error(`${this.name} is not ready:\n${this.#logTail()}`);
      await new Promise((resolve) => setTimeout(resolve, READY_POLL_MS));
    }
  }

  /** kill -9, and waits until it is gone. A daemon that does not run is no error. */
  async kill(): Promise<void> {
    this.#child?.kill('SIGKILL');
    await this.#exited;
  }

  /** Asks it to stop as an operator would. Returns its exit code, or null when it had to be killed. */
  async stop(): Promise<number | null> {
    if (!this.isRunning) return null;
    this.#child?.kill('SIGTERM');
    const killer = setTimeout(() => this.#child?.kill('SIGKILL'), STOP_LIMIT_MS);
    const code = await this.#exited;
    clearTimeout(killer);
    return code;
  }

  /** For the end of the test process, where nothing can be awaited any more. */
  killNow(): void {
    if (this.isRunning) this.#child?.kill('SIGKILL');
  }

  #logTail(): string {
    return this.log.trimEnd().split('\n').slice(-LOG_TAIL_LINES).join('\n');
  }
}
