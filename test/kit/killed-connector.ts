import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Test } from 'tap';
import { below, seededRandom } from '../../shared/random.js';
import type { RunningConnector } from './connector.js';

const KILL_WITHIN_MS = 3_000;
const LIVES = 3;
const PARALLEL = 4;

/** A site, as far as a connector that dies needs it. */
export interface KillingSite {
  readonly folder: string;
  run(name: string, job: object, more: readonly string[]): RunningConnector;
  /** Of jobs of that name which are known there. */
  idsOf(name: string): readonly string[];
}

/** Killed at points that follow from the seed and started again, there is one remote job, which ran once. */
export async function survivesKills(
  t: Test,
  siteOf: (seed: number) => KillingSite,
  seeds: readonly number[],
): Promise<void> {
  for (let at = 0; at < seeds.length; at += PARALLEL) {
    await Promise.all(seeds.slice(at, at + PARALLEL).map((seed) => survives(t, siteOf(seed), seed)));
  }
}

async function survives(t: Test, { folder, run, idsOf }: KillingSite, seed: number): Promise<void> {
  const random = seededRandom(seed);
  const name = `kill-${seed}`;
  // Half of the runs remember nothing at all on this side.
  const state = seed % 2 === 0 ? ['--state-dir', join(folder, 'state')] : [];
  const job = { command: ['sh', '-c', `echo $BERTH_HPC_JOB >>${folder}/${name}.ran; sleep 1; exit ${20 + seed}`] };
  for (let life = 0; life < LIVES; life += 1) {
    const connector = run(name, job, state);
    const timer = setTimeout(() => connector.child.kill('SIGKILL'), below(random, KILL_WITHIN_MS));
    const exitCode = await connector.exitCode;
    clearTimeout(timer);
    if (exitCode !== 137) break;
  }
  const last = run(name, job, state);
  t.equal(await last.exitCode, 20 + seed, `seed ${seed}: ${last.stderr()}`);
  const ran = readFileSync(`${folder}/${name}.ran`, 'utf8').trim().split('\n');
  t.equal(ran.length, 1, `seed ${seed} ran once`);
  t.same(
    idsOf(name).filter((id) => id !== ran[0]),
    [],
    `seed ${seed} has no other job`,
  );
}
