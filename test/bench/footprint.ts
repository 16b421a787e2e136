import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { parseArgs } from 'node:util';
import { startCluster } from '../kit/cluster.js';
import { rounded, say } from './figures.js';
import { type Memory, memoryOf } from './process-figures.js';

/** Memory of the idle daemons, beside a Node process that does nothing, all of the same age. */
export async function footprint(args: string[]): Promise<object> {
  const { values } = parseArgs({ args, options: { seconds: { type: 'string', default: '10' } } });
  const cluster = await startCluster();
  const bare = spawn(process.execPath, ['-e', 'setInterval(() => {}, 1e9)'], { stdio: 'ignore', env: {} });
  await once(bare, 'spawn');
  try {
    say(`idle for ${values.seconds} s`);
    await new Promise((resolve) => setTimeout(resolve, Number(values.seconds) * 1000));
    const floor = memoryOf(bare.pid ?? 0);
    const [agent] = cluster.agents;
    if (agent === undefined) throw new Error('the cluster has no agent');
    return {
      ...columns('floor', floor),
      ...columns('agent', memoryOf(agent.pid)),
      agentOverFloorMiB: rounded(memoryOf(agent.pid).rssMiB - floor.rssMiB),
      // What the agent starts tasks with is a process of its own.
      launcherMiB: rounded(cluster.leftovers().reduce((sum, pid) => sum + memoryOf(pid).pssMiB, 0)),
      ...columns('coordinator', memoryOf(cluster.coordinator.pid)),
      coordinatorOverFloorMiB: rounded(memoryOf(cluster.coordinator.pid).rssMiB - floor.rssMiB),
    };
  } finally {
    bare.kill('SIGKILL');
    await cluster.stop();
  }
}

function columns(name: string, { rssMiB, pssMiB }: Memory): Record<string, number> {
  return { [`${name}MiB`]: rounded(rssMiB), [`${name}PssMiB`]: rounded(pssMiB) };
}
