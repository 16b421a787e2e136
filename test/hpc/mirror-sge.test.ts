import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { startCluster } from '../kit/cluster.js';
import { heldProgram } from '../kit/held-program.js';
import { type MirrorBench, mirrorStory } from '../kit/mirror-story.js';
import { sgeTests, startGridEngine } from '../kit/sge.js';

t.setTimeout(300_000);

/** Its accounting tells of an end some 15 s later. */
const long = process.env.BERTH_SLOW === '1' ? {} : { skip: 'slow; BERTH_SLOW=1 runs it' };

// A person's client, a real coordinator without any node, and a real Grid Engine.
t.test('Grid Engine by its name', sgeTests, async (t) => mirrorStory(t, await aBench(t), long));

async function aBench(t: Test): Promise<MirrorBench> {
  const sge = startGridEngine(t);
  const targets = join(sge.folder, 'targets.yaml');
  const common = `backend: sge, stagingRoot: ${sge.folder}/jobs, period: 1s`;
  writeFileSync(
    targets,
    `targets:\n  - {name: grid, ${common}, partition: main.q}\n  - {name: shut, ${common}, partition: closed.q}\n`,
  );
  const qsub = heldProgram('qsub', sge.folder, sge.env.PATH ?? '');
  const cluster = await startCluster({
    agents: 0,
    coordinatorFlags: ['--targets', targets],
    coordinatorEnv: { ...sge.env, PATH: `${qsub.folder}:${sge.env.PATH}` },
  });
  t.teardown(() => cluster.stop());
  return {
    ...cluster,
    ...{ running: 'hpc/grid', waiting: 'hpc/shut', shared: sge.folder, holdSubmissions: qsub.hold },
    inQueue: () => sge.jobs().map(({ id, state }) => `${id} ${state}`),
    outage: { begin: sge.stopMaster, end: sge.startMaster },
  };
}
