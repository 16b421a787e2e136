import { parseArgs } from 'node:util';
import { type Cluster, startCluster } from '../kit/cluster.js';
import { rounded, say } from './figures.js';
import { isolationOf } from './isolation-flag.js';
import { cpuSecondsOf } from './process-figures.js';
import { slurmTasksPerSecond } from './slurm.js';
import { spawnLimitPerSecond } from './spawn-limit.js';

const JOB_LIMIT_MS = 10 * 60_000;

/**
 * Tasks a second from submission to the end of one array of `true`, on a real coordinator and agent, beside what a bare
 * Node process can start on the same machine in the same minutes. Rounds of both alternate and the best of each counts,
 * since other load on the machine only ever lowers a figure. Both keep `slots` processes going at once.
 */
export async function throughput(args: string[]): Promise<object> {
  const { values } = parseArgs({
    args,
    options: {
      tasks: { type: 'string', default: '5000' },
      rounds: { type: 'string', default: '2' },
      slots: { type: 'string', default: '64' },
      'vs-slurm': { type: 'boolean', default: false },
      'slurm-tasks': { type: 'string', default: '1000' },
      isolation: { type: 'string', default: 'none' },
    },
  });
  const slots = Number(values.slots);
  const limits = [await spawnLimit(slots)];
  const rounds: Round[] = [];
  const cluster = await startCluster({ cpus: slots, isolation: isolationOf(values.isolation) });
  try {
    for (let round = 0; round < Number(values.rounds); round += 1) {
      rounds.push(await runArray(cluster, Number(values.tasks)));
      limits.push(await spawnLimit(slots));
    }
  } finally {
    await cluster.stop();
  }
  const best = rounds.reduce((left, right) => (right.tasksPerSecond > left.tasksPerSecond ? right : left));
  const spawnLimitBest = Math.max(...limits);
  const figures = {
    isolation: values.isolation,
    slots,
    taskCount: Number(values.tasks),
    tasksPerSecond: rounded(best.tasksPerSecond),
    spawnLimitPerSecond: rounded(spawnLimitBest),
    ratio: rounded(best.tasksPerSecond / spawnLimitBest, 2),
    coordinatorCpuMsPerTask: rounded(best.coordinatorCpuMsPerTask, 3),
    agentCpuMsPerTask: rounded(best.agentCpuMsPerTask, 3),
    allTasksPerSecond: rounds.map(({ tasksPerSecond }) => rounded(tasksPerSecond)),
    allSpawnLimits: limits.map((limit) => rounded(limit)),
  };
  if (!values['vs-slurm']) return figures;
  const slurm = await slurmTasksPerSecond({ taskCount: Number(values['slurm-tasks']), cpus: slots });
  return {
    ...figures,
    slurmTasksPerSecond: rounded(slurm),
    ratioToSlurm: rounded(best.tasksPerSecond / slurm),
  };
}

async function spawnLimit(slots: number): Promise<number> {
  const limit = await spawnLimitPerSecond(slots);
  say(`plain spawn: ${rounded(limit)} a second`);
  return limit;
}

interface Round {
  readonly tasksPerSecond: number;
  readonly coordinatorCpuMsPerTask: number;
  readonly agentCpuMsPerTask: number;
}

async function runArray(cluster: Cluster, taskCount: number): Promise<Round> {
  const daemons = [cluster.coordinator.pid, ...cluster.agents.map(({ pid }) => pid)] as const;
  const cpuBefore = daemons.map(cpuSecondsOf);
  const startedAt = performance.now();
  const job = await cluster.api.submit({ name: 'throughput', array: `0-${taskCount - 1}`, command: ['true'] });
  const ended = await cluster.api.finished(job.id, JOB_LIMIT_MS);
  const seconds = (performance.now() - startedAt) / 1000;
  if (ended.outcome !== 'succeeded') throw new Error(`the array failed: ${JSON.stringify(ended)}`);
  const [coordinator = 0, agent = 0] = daemons.map((pid, at) => cpuSecondsOf(pid) - (cpuBefore[at] ?? 0));
  say(`berth: ${rounded(taskCount / seconds)} tasks a second`);
  return {
    tasksPerSecond: taskCount / seconds,
    coordinatorCpuMsPerTask: (coordinator * 1000) / taskCount,
    agentCpuMsPerTask: (agent * 1000) / taskCount,
  };
}
