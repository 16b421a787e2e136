import t from 'tap';
import { openBackend } from '../../coordinator/hpc/backends/open-backend.js';
import { parseTarget } from '../../coordinator/hpc/read-target.js';
import { systemClock } from '../../shared/clock.js';
import { isRefusal } from '../../shared/errors.js';
import { type HpcBench, hpcBackendConformance } from '../conformance/hpc-backend.js';
import { sgeTests, startGridEngine } from '../kit/sge.js';
import { until } from '../kit/until.js';

t.setTimeout(300_000);

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

  t.test('a master that is down is unavailable, and forgets nothing', async (t) => {
    const target = parseTarget({ ...bench.target, stagingRoot: bench.stagingRoot });
    if (isRefusal(target)) throw new Error(target.detail);
    const backend = bench.open(target);
    sge.stopMaster();
    await t.rejects(backend.statusOf(['1'], new AbortController().signal), { kind: 'unavailable', message: /commlib/ });
    sge.startMaster();
    await until('it is back', () =>
      backend.statusOf(['1'], new AbortController().signal).then(
        ({ size }) => size === 1,
        () => false,
      ),
    );
  });
});
