import { execFile } from 'node:child_process';
import type { Cancel, Clock } from './clock.js';
import type { Log } from './log.js';

/** What systemd tells a service that it started, in its environment; null where it did not. */
export interface ServiceEnvironment {
  readonly notifySocket: string;
  /** Without a sign of life for so long the service is taken for hung; null: nobody waits for one. */
  readonly watchdogMs: number | null;
}

type Environment = Readonly<Record<string, string | undefined>>;

export function readServiceEnvironment(env: Environment, pid: number): ServiceEnvironment | null {
  const notifySocket = env.NOTIFY_SOCKET;
  if (notifySocket === undefined || notifySocket === '') return null;
  const isMeant = env.WATCHDOG_PID === undefined || Number(env.WATCHDOG_PID) === pid;
  const watchdogUs = Number(env.WATCHDOG_USEC);
  return { notifySocket, watchdogMs: isMeant && watchdogUs > 0 ? watchdogUs / 1_000 : null };
}

export interface SystemdOptions {
  readonly clock: Clock;
  readonly log: Log;
  /** Of the service's main process: ours. */
  readonly pid: number;
  /** In place of systemd-notify. */
  readonly program?: string;
}

const NOTIFY_LIMIT_MS = 5_000;
/** A sign of life may be late, and the next in time. */
const SIGNS_PER_WATCHDOG = 3;

/**
 * Tells systemd how the service is.
 *
 * Its socket takes datagrams, which Node cannot send, so a child does: systemd-notify, which comes with systemd. The unit
 * needs `NotifyAccess=all`. A sign of life is sent from the event loop, so that one that is stuck sends none.
 */
export class SystemdService {
  readonly #environment: ServiceEnvironment | null;
  readonly #clock: Clock;
  readonly #log: Log;
  readonly #pid: number;
  readonly #program: string;
  #cancelSign: Cancel = () => {};
  #isReady = false;
  #hasFailed = false;

  constructor(environment: ServiceEnvironment | null, options: SystemdOptions) {
    this.#environment = environment;
    this.#clock = options.clock;
    this.#log = options.log;
    this.#pid = options.pid;
    this.#program = options.program ?? 'systemd-notify';
  }

  /** The service does its work from now on. Only the first call counts. */
  ready(): void {
    if (this.#environment === null || this.#isReady) return;
    this.#isReady = true;
    this.#tell(['--ready', `--pid=${this.#pid}`]);
    const { watchdogMs } = this.#environment;
    if (watchdogMs !== null) this.#signs(watchdogMs / SIGNS_PER_WATCHDOG);
  }

  /** It ends because it was asked to. */
  stopping(): void {
    if (this.#environment === null) return;
    this.#tell(['STOPPING=1']);
  }

  #signs(everyMs: number): void {
    this.#cancelSign();
    this.#cancelSign = this.#clock.after(everyMs, () => {
      this.#tell(['WATCHDOG=1']);
      this.#signs(everyMs);
    });
  }

  #tell(words: readonly string[]): void {
    const { notifySocket } = this.#environment ?? { notifySocket: '' };
    const options = { timeout: NOTIFY_LIMIT_MS, env: { NOTIFY_SOCKET: notifySocket, PATH: '/usr/bin:/bin' } };
    execFile(this.#program, words, options, (error) => {
      if (error === null || this.#hasFailed) return;
      this.#hasFailed = true;
      this.#log.warn('systemd cannot be told how the service is', { error: error.message });
    });
  }
}
