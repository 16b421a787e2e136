import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import type { CreateOrder } from '../../coordinator/elastic/provider.js';
import { loadProvider } from '../../coordinator/elastic/provider-kinds.js';
import { aProviderWorld } from './machines.js';

/** A coordinator as far as it creates one machine. */
export interface DyingCoordinator {
  readonly kind: string;
  readonly settings: Readonly<Record<string, unknown>>;
  readonly stateDir: string;
  /** When kill -9 comes, counted from the call of `create`. */
  readonly afterMs: number;
}

const SELF = fileURLToPath(import.meta.url);

/** Orders the machine from another process, which is killed in the middle of it, or just before or after. */
export async function dieCreating(order: CreateOrder, coordinator: DyingCoordinator): Promise<void> {
  const child = spawn(process.execPath, [SELF, JSON.stringify({ order, ...coordinator })], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const exited = once(child, 'exit');
  await Promise.race([once(child.stdout, 'data'), exited]);
  setTimeout(() => child.kill('SIGKILL'), coordinator.afterMs);
  await exited;
}

if (process.argv[1] === SELF) {
  const { order, kind, settings, stateDir } = JSON.parse(process.argv[2] ?? '') as DyingCoordinator & {
    readonly order: CreateOrder;
  };
  const provider = (await loadProvider(kind))(settings, aProviderWorld(stateDir));
  process.stdout.write('now\n');
  await provider.create(order, new AbortController().signal);
  setInterval(() => {}, 1_000);
}
