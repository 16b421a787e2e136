import { join } from 'node:path';
import t from 'tap';
import { openBackend } from '../../coordinator/hpc/backends/open-backend.js';
import { parseTarget } from '../../coordinator/hpc/read-target.js';
import { systemClock } from '../../shared/clock.js';
import { isRefusal } from '../../shared/errors.js';
import { hpcBackendConformance } from '../conformance/hpc-backend.js';
import { connectorFiles, startConnector } from '../kit/connector.js';
import type { HpcBench } from '../kit/hpc-site.js';
import { type KillingSite, survivesKills } from '../kit/killed-connector.js';
import { sgeTests, startGridEngine } from '../kit/sge.js';
import { temporaryFolder } from '../kit/temporary-folder.js';
import { until } from '../kit/until.js';

t.setTimeout(300_000);

const KILLED_RUNS = process.env.BERTH_TEST_LONG === '1' ? 20 : 2;

t.test('Grid Engine by the tools of this machine', sgeTests, async (t) => {
  const sge = startGridEngine(t);
  const secret = () => Promise.reject(new Error('there is none'));
  const bench: HpcBench = {
    target: { backend: 'sge', partition: 'main.q' },
    stagingRoot: `${sge.folder}/jobs`,
    open: (target) => openBackend(target, { env: sge.env, sshAgentSocket: undefined, secret, clock: systemClock }),
    closedPartition: 'closed.q',
    differs: { cancelIsSignal: true, forgetsWaiting: true },
  };
  hpcBackendConformance(t, () => bench);

  t.test('a connector that is killed at any point and started again has one job, which ran once', async (t) => {
    const folder = temporaryFolder(t);
    const target = { ...bench.target, stagingRoot: bench.stagingRoot, period: '500ms', keep: 'always' };
    const site: KillingSite = {
      folder,
      run: (name, job, more) =>
        startConnector(['run', ...connectorFiles(join(folder, name), target, job), '--name', name, ...more], sge.env),
      idsOf: (name) => sge.jobs().flatMap((job) => (job.name === `berth-${name}` ? [job.id] : [])),
    };
    await survivesKills(t, () => site, [...Array(KILLED_RUNS).keys()]);
  });

  t.test('a master that is down is unavailable, and forgets nothing', async (t) => {
    const target = parseTarget({ ...bench.target, stagingRoot: bench.stagingRoot });
    if (isRefusal(target)) throw new Error(target.detail);
    const backend = bench.open(target);
    const { signal } = new AbortController();
    sge.stopMaster();
    await t.rejects(backend.statusOf(['1'], signal), { kind: 'unavailable', message: /commlib/ });
    sge.startMaster();
    const answers = (): Promise<boolean> =>
      backend.statusOf(['1'], signal).then(
        () => true,
        () => false,
      );
    await until('it is back', answers);
    t.equal((await backend.accounting?.endedOf(['1'], signal))?.size, 1);
  });
});
