import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { below, type Random, seededRandom } from '../../shared/random.js';
import { type Cluster, startCluster } from '../kit/cluster.js';
import type { Daemon } from '../kit/daemon.js';

/**
 * kill -9 of the daemons at seeded moments while a job of many short tasks runs (P1, P3, P5, P9).
 *
 * Each task writes a line into a witness file of its own when it starts and when it ends, apart from everything that
 * Berth keeps. However often the daemons die, the witness must show each task exactly once, in its first attempt, and
 * the logs must be what the tasks wrote.
 */
const TASK_COUNT = 200;
const OUTPUT_LINES = 40;
const JOB_LIMIT_MS = 60_000;
/** Kills fall within this time of the submission; the job takes somewhat longer. */
const KILLING_MS = 2_500;
const MAX_KILLS = 3;
const MAX_DOWN_MS = 1_000;
const QUICK_SEEDS = 3;
const LONG_SEEDS = 40;

const isLong = process.env.BERTH_TEST_LONG === '1' || process.argv.includes('--long');
const seeds = Array.from({ length: isLong ? LONG_SEEDS : QUICK_SEEDS }, (_, at) => at + 1);

const cluster = await startCluster({ cpus: 40 });
t.teardown(() => cluster.stop());
if (isLong) t.setTimeout(0);

for (const seed of seeds) {
  t.test(`no task is lost, repeated or cut off when daemons are killed, seed ${seed}`, async (t) => {
    const random = seededRandom(seed);
    const witness = join(cluster.folder, `witness-${seed}`);
    const job = await cluster.api.submit({
      name: `kill-${seed}`,
      array: `1-${TASK_COUNT}`,
      command: ['sh', '-c', taskScript(), witness],
      resources: { cpus: 1, memory: '16MiB' },
    });
    t.comment(await killSome(cluster, victimsOf(cluster, seed), random));
    const ended = await cluster.api.finished(job.id, JOB_LIMIT_MS);
    t.match(ended, { outcome: 'succeeded', counts: { succeeded: TASK_COUNT } });
    t.same(readFileSync(witness, 'utf8').trim().split('\n').sort(), expectedWitness());
    t.same(await wrongLogs(cluster, job.id), []);
    t.ok((await cluster.api.tasks(job.id)).every(({ attempt }) => attempt === 1));
  });
}

/** Runs between a tenth and seven tenths of a second and writes to both streams, with hardly a process of its own. */
function taskScript(): string {
  return `
    echo "$BERTH_TASK_INDEX start $BERTH_ATTEMPT" >>"$0"
    line=0
    while [ $line -lt ${OUTPUT_LINES} ]; do
      echo "task $BERTH_TASK_INDEX line $line"
      line=$((line + 1))
      [ $line -ne ${OUTPUT_LINES / 2} ] || sleep 0.$((BERTH_TASK_INDEX % 7 + 1))
    done
    echo "task $BERTH_TASK_INDEX complains" >&2
    echo "$BERTH_TASK_INDEX end $BERTH_ATTEMPT" >>"$0"`;
}

function expectedWitness(): string[] {
  const lines: string[] = [];
  for (let task = 1; task <= TASK_COUNT; task += 1) lines.push(`${task} start 1`, `${task} end 1`);
  return lines.sort();
}

/** The first three seeds are the three cases that matter, so that the quick run has each. */
function victimsOf({ coordinator, agents }: Cluster, seed: number): readonly Daemon[] {
  const cases = [[coordinator], agents, [coordinator, ...agents]] as const;
  return cases[(seed - 1) % cases.length] ?? [];
}

/** Kills the victims together, once or several times, each time starting them again. Returns what it did. */
async function killSome({ api }: Cluster, victims: readonly Daemon[], random: Random): Promise<string> {
  const moments = Array.from({ length: 1 + below(random, MAX_KILLS) }, () => below(random, KILLING_MS));
  moments.sort((left, right) => left - right);
  const startedAt = performance.now();
  for (const moment of moments) {
    await pause(moment - (performance.now() - startedAt));
    await Promise.all(victims.map((victim) => victim.kill()));
    await pause(below(random, MAX_DOWN_MS));
    for (const victim of victims) victim.launch();
    for (const victim of victims) await victim.waitUntilReady();
  }
  const nodes = await api.json<{ nodes: readonly { name: string; state: string }[] }>('GET', '/v1/nodes');
  const states = nodes.nodes.map(({ name, state }) => `${name} ${state}`).join(', ');
  return `killed ${victims.map(({ name }) => name).join(' and ')} at ${moments.join(', ')} ms; now ${states}`;
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, Math.max(0, ms)));
}

/** Tasks whose output, asked for to its end, is not what they wrote. */
async function wrongLogs({ api }: Cluster, jobId: string): Promise<string[]> {
  const wrong: string[] = [];
  for (let task = 1; task <= TASK_COUNT; task += 1) {
    const logs = (stream: string) =>
      api.request('GET', `/v1/jobs/${jobId}/tasks/${task}/logs?stream=${stream}&follow=true`);
    const [stdout, stderr] = await Promise.all([logs('stdout'), logs('stderr')]);
    const lines = Array.from({ length: OUTPUT_LINES }, (_, line) => `task ${task} line ${line}\n`);
    if (stdout.text !== lines.join('')) wrong.push(`task ${task} stdout: ${JSON.stringify(stdout.text.slice(-80))}`);
    if (stderr.text !== `task ${task} complains\n`) wrong.push(`task ${task} stderr: ${JSON.stringify(stderr.text)}`);
  }
  return wrong;
}
