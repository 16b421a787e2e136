import t from 'tap';
import { openBackend } from '../../coordinator/hpc/backends/open-backend.js';
import { type HpcBench, hpcBackendConformance } from '../conformance/hpc-backend.js';
import { slurmTests, startSlurm } from '../kit/slurm.js';
import { until } from '../kit/until.js';

t.setTimeout(120_000);

t.test('Slurm by the tools of this machine', slurmTests, async (t) => {
  const slurm = startSlurm(t, { minJobAgeSeconds: 3 });
  const bench: HpcBench = {
    target: { backend: 'slurm-local', partition: 'main' },
    stagingRoot: `${slurm.folder}/jobs`,
    open: (target) =>
      openBackend(target, {
        env: slurm.env,
        sshAgentSocket: undefined,
        secret: () => Promise.reject(new Error('none')),
      }),
    closedPartition: 'closed',
    forget: async (id) => {
      await until(
        `${id} is forgotten`,
        () => !slurm.tool('squeue', '--states=all', '--noheader', '--format=%A').split('\n').includes(id),
      );
    },
    outage: { begin: slurm.stopController, end: slurm.startController },
  };
  hpcBackendConformance(t, () => bench);
});
