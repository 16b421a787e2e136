import { Readable, Writable } from 'node:stream';
import type { Test } from 'tap';
import { ApiClient } from '../../coordinator/view/client.js';
import { type ClientConfig, findCoordinator, readClientConfig } from '../../coordinator/view/config.js';
import { type StopSignal, screenOf } from '../../coordinator/view/context.js';
import { runClient } from '../../coordinator/view/program.js';
import { systemClock } from '../../shared/clock.js';
import { systemRandom } from '../../shared/random.js';
import { FakeApi } from '../fakes/fake-api.js';

export interface SessionOptions {
  readonly isTerminal?: boolean;
  readonly config?: Partial<ClientConfig>;
  readonly input?: string;
}

/** A client at a keyboard: what it wrote, and the signals that it gets. */
export class Session {
  stdout = '';
  stderr = '';
  readonly listeners = new Set<(signal: StopSignal) => void>();
  #writes: ((_: unknown) => void)[] = [];
  readonly #config: ClientConfig;
  readonly #options: SessionOptions;

  constructor(api: { readonly url: string; readonly token: string }, options: SessionOptions = {}) {
    this.#options = options;
    const environment = { BERTH_URL: api.url, BERTH_TOKEN: api.token, HOME: '/nonexistent' };
    this.#config = { ...readClientConfig(environment), ...options.config };
  }

  run(...argv: string[]): Promise<number> {
    const screen = (write: (text: string) => void) => {
      const stream = new Writable({
        write: (chunk, _, done) => {
          write(String(chunk));
          for (const wake of this.#writes.splice(0)) wake(undefined);
          done();
        },
      });
      const terminal = { isTTY: this.#options.isTerminal ?? false, columns: 80 };
      return screenOf(Object.assign(stream, terminal), this.#config);
    };
    return runClient(argv, {
      out: screen((text) => {
        this.stdout += text;
      }),
      err: screen((text) => {
        this.stderr += text;
      }),
      clock: systemClock,
      random: systemRandom,
      config: this.#config,
      api: new ApiClient({ locate: () => findCoordinator(this.#config), clock: systemClock }),
      readInput: async () => this.#options.input ?? '',
      input: Readable.from([Buffer.from(this.#options.input ?? '')]),
      onSignal: (listener) => {
        this.listeners.add(listener);
        return () => this.listeners.delete(listener);
      },
    });
  }

  signal(signal: StopSignal): void {
    for (const listener of this.listeners) listener(signal);
  }

  /** Resolves once the text has appeared on either screen. */
  async prints(text: string): Promise<void> {
    while (!(this.stdout + this.stderr).includes(text)) await new Promise((resolve) => this.#writes.push(resolve));
  }
}

export async function fakeApi(t: Test): Promise<FakeApi> {
  const api = new FakeApi();
  await api.start();
  t.teardown(() => api.stop());
  return api;
}
