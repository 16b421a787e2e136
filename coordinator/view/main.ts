import { systemClock } from '../../shared/clock.js';
import { systemRandom } from '../../shared/random.js';
import { ApiClient } from './client.js';
import { findCoordinator, readClientConfig } from './config.js';
import { type Context, type StopSignal, screenOf } from './context.js';
import { exitCodeOfSignal } from './exit-code.js';
import { runClient } from './program.js';

const STOP_SIGNALS: readonly StopSignal[] = ['SIGINT', 'SIGTERM', 'SIGHUP'];
const LONGEST_TIMER_MS = 2 ** 31 - 1;

/** The command-line client of this process. */
export async function main(argv: readonly string[]): Promise<number> {
  const config = readClientConfig();
  // The reader of our output has gone, as in `berth logs | head`: end as the signal would have ended us.
  process.stdout.on('error', (error: NodeJS.ErrnoException) => {
    process.exit(error.code === 'EPIPE' ? exitCodeOfSignal('SIGPIPE') : 1);
  });
  // The clock's timers keep no process alive; a client that pauses between two tries must stay.
  const stayAlive = setInterval(() => {}, LONGEST_TIMER_MS);
  try {
    return await runClient(argv, {
      out: screenOf(process.stdout, config),
      err: screenOf(process.stderr, config),
      clock: systemClock,
      random: systemRandom,
      config,
      api: new ApiClient({ locate: () => findCoordinator(config), clock: systemClock }),
      readInput,
      input: process.stdin,
      onSignal,
    } satisfies Context);
  } finally {
    clearInterval(stayAlive);
  }
}

async function readInput(): Promise<string> {
  const pieces: Buffer[] = [];
  for await (const piece of process.stdin) pieces.push(piece as Buffer);
  return Buffer.concat(pieces).toString('utf8');
}

function onSignal(listener: (signal: StopSignal) => void): () => void {
  for (const signal of STOP_SIGNALS) process.on(signal, listener);
  return () => {
    for (const signal of STOP_SIGNALS) process.off(signal, listener);
  };
}
