import { spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { runCommand } from '../kit/command.js';

const ROUND_MS = 3_000;

/** How many `/bin/true` a second a bare Node process can start and reap on this machine now, so many at once. */
export async function spawnLimitPerSecond(inFlight: number): Promise<number> {
  const { stdout } = await runCommand([process.execPath, fileURLToPath(import.meta.url), String(inFlight)], {
    env: { PATH: process.env.PATH ?? '' },
  });
  return Number(stdout);
}

/** Keeps `inFlight` processes going for ROUND_MS; the rate is of those that have ended. */
function measure(inFlight: number): Promise<number> {
  const startedAt = performance.now();
  let ended = 0;
  let running = 0;
  return new Promise((resolve) => {
    const next = (): void => {
      const elapsedMs = performance.now() - startedAt;
      if (elapsedMs >= ROUND_MS) {
        if (running === 0) resolve((ended / elapsedMs) * 1000);
        return;
      }
      running += 1;
      spawn('/bin/true', { stdio: 'ignore' }).on('exit', () => {
        running -= 1;
        ended += 1;
        next();
      });
    };
    for (let slot = 0; slot < inFlight; slot += 1) next();
  });
}

if (process.argv[1] === fileURLToPath(import.meta.url)) console.log(await measure(Number(process.argv[2])));
