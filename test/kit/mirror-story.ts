import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Test } from 'tap';
import type { Cluster } from './cluster.js';
import { until } from './until.js';

/** A real coordinator at a real batch system. */
export interface MirrorBench extends Cluster {
  /** Two targets of it, such as `hpc/lab`: one whose jobs run, and one whose jobs wait. */
  readonly running: string;
  readonly waiting: string;
  /** A folder that its jobs see. */
  readonly shared: string;
  /** `ID STATE` of what waits or runs there. */
  inQueue(): readonly string[];
  /** While true, submissions arrive there, and the coordinator does not learn of it. */
  holdSubmissions(isHeld: boolean): void;
  /** Takes the controller away and gives it back. */
  readonly outage: { begin(): void; end(): void };
}

/** What a person sees of remote jobs, whatever the batch system is; `long` says whether to play what takes long at some. */
export function mirrorStory(t: Test, bench: MirrorBench, long: { readonly skip?: string } = {}): void {
  for (const [title, act] of Object.entries(STORY)) t.test(title, LONG.has(title) ? long : {}, (t) => act(t, bench));
}

const LONG = new Set([
  'a job that waits there says why, and cancel ends it and one that runs',
  'while the site is away nothing fails',
]);

/** The id of a job that was submitted with these words. */
export async function detach({ berth }: Pick<Cluster, 'berth'>, ...args: string[]): Promise<string> {
  const { stdout, stderr } = await berth(['run', '--detach', ...args]);
  if (stdout === '') throw new Error(stderr);
  return stdout.trim();
}

export async function reasonOf({ api }: Pick<Cluster, 'api'>, jobId: string): Promise<string> {
  return (await api.tasks(jobId))[0]?.reason ?? '';
}

const STORY: Readonly<Record<string, (t: Test, bench: MirrorBench) => Promise<void>>> = {
  'run shows what it writes and ends with its exit code': async (t, { berth, running }) => {
    t.match(await berth(['run', '--target', running, '--', 'sh', '-c', 'echo hello; echo oops >&2; exit 7']), {
      exitCode: 7,
      stdout: 'hello\n',
      stderr: /oops/,
    });
  },

  'an array is one remote job': async (t, bench) => {
    const { berth, api, running } = bench;
    const command = ['sh', '-c', 'echo task $BERTH_TASK_INDEX'];
    const jobId = await detach(bench, '--target', running, '--array', '1-12', '--', ...command);
    t.match(await berth(['wait', jobId]), { exitCode: 0 });
    const expected = Array.from({ length: 12 }, (_, at) => `[${at + 1}] task ${at + 1}\n`);
    t.equal((await berth(['logs', jobId])).stdout, expected.join(''));
    const remoteIdOf = async (index: number): Promise<string | undefined> => {
      const shown = await api.json<{ attempts: { mirror: { remoteId: string } }[] }>(
        'GET',
        `/v1/jobs/${jobId}/tasks/${index}`,
      );
      return shown.attempts[0]?.mirror.remoteId;
    };
    t.match(await remoteIdOf(12), /^\d+$/);
    t.equal(await remoteIdOf(1), await remoteIdOf(12));
    t.match((await berth(['show', `${jobId}.12`])).stdout, new RegExp(`${running} job \\d+ \\w+ `));
    t.match((await berth(['nodes'])).stdout, new RegExp(`${running} +(- +)?ready`));
  },

  'files go there and come back, also of a job that has failed': async (t, bench) => {
    const { berth, folder, running } = bench;
    const home = join(folder, `files-${running.slice(4)}`);
    mkdirSync(home);
    const stored = Buffer.from(Array.from({ length: 1_500_000 }, (_, at) => (at * 31) % 253));
    writeFileSync(join(home, 'stored'), stored);
    const from = (await berth(['put', join(home, 'stored')])).stdout.trim();
    const job = {
      target: running,
      command: ['sh', '-c', 'mkdir result; cat given stored >result/both; exit 4'],
      inputs: [
        { content: 'given\n', to: 'given' },
        { from, to: 'stored' },
      ],
      outputs: ['result/*'],
      retry: { maxAttempts: 1 },
    };
    writeFileSync(join(home, 'job.json'), JSON.stringify(job));
    const jobId = await detach(bench, join(home, 'job.json'));
    t.match(await berth(['wait', jobId]), { exitCode: 4 });
    t.match(await berth(['get', jobId, '-o', join(home, 'got')]), { exitCode: 0 });
    t.ok(readFileSync(join(home, 'got/result/both')).equals(Buffer.concat([Buffer.from('given\n'), stored])));
  },

  'a job that waits there says why, and cancel ends it and one that runs': async (t, bench) => {
    const { berth, running, waiting, inQueue } = bench;
    const waits = await detach(bench, '--target', waiting, '--', 'true');
    const inItsQueue = new RegExp(`waits in the queue of ${waiting}(: .*)? \\(job \\d+\\)`);
    await until('it waits there', async () => inItsQueue.test(await reasonOf(bench, waits)));
    t.match((await berth(['why', waits])).stdout, inItsQueue);
    const runs = await detach(bench, '--target', running, '--', 'sleep', '600');
    const isRunning = new RegExp(`^runs at ${running} \\(job \\d+ on `);
    await until('it runs there', async () => isRunning.test(await reasonOf(bench, runs)));
    t.match(await berth(['cancel', waits, runs]), { exitCode: 0 });
    t.match(await berth(['wait', waits]), { exitCode: 130 });
    t.match(await berth(['wait', runs]), { exitCode: 130 });
    await until('both are gone', () => inQueue().length === 0);
  },

  'a coordinator that is killed before it knows the id, and after, leaves no orphan and no double': async (
    t,
    bench,
  ) => {
    const { berth, coordinator, shared, running, inQueue, holdSubmissions } = bench;
    const go = join(shared, `go-${running.slice(4)}`);
    const script = `while [ ! -e ${go} ]; do sleep 0.1; done; echo once; exit 3`;
    const jobIds: string[] = [];
    const submit = async (): Promise<void> => {
      jobIds.push(await detach(bench, '--target', running, '--retry', '1', '--', 'sh', '-c', script));
    };
    holdSubmissions(true);
    await submit();
    await until('the first is there', () => inQueue().length === 1);
    await coordinator.kill();
    holdSubmissions(false);
    await coordinator.start();
    await submit();
    await coordinator.kill();
    await coordinator.start();
    await until('both are there', () => inQueue().length === 2);
    writeFileSync(go, '');
    for (const jobId of jobIds) {
      t.match(await berth(['wait', jobId]), { exitCode: 3 });
      t.equal((await berth(['logs', jobId])).stdout, 'once\n');
    }
    t.same(inQueue(), []);
  },

  'while the site is away nothing fails': async (t, bench) => {
    const { berth, running, shared, outage } = bench;
    const began = join(shared, `began-${running.slice(4)}`);
    const jobId = await detach(bench, '--target', running, '--', 'sh', '-c', `: >${began}; sleep 2; exit 5`);
    await until('it runs', () => existsSync(began));
    outage.begin();
    const isSaid = new RegExp(`${running} cannot be asked \\(unavailable\\).*; the job goes on there`);
    await until('that is said', async () => isSaid.test(await reasonOf(bench, jobId)));
    outage.end();
    t.match(await berth(['wait', jobId]), { exitCode: 5 });
  },
};
