import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { startCluster } from '../kit/cluster.js';
import { until } from '../kit/until.js';

/** A pool that works, one with a region that nobody has, one whose keys nobody knows. */
const POOLS = `
- name: small
  provider: process
  node: {cpus: 2, memory: 2GiB}
  max: 1
  idle: 1s
  onIdle: suspend
  prices: {onPerHour: 0.5, suspendedPerHour: 0.1}
- name: nowhere
  provider: {kind: ec2, region: eu-nowhere-1, image: ami-1, instanceType: m5.large}
  node: {cpus: 64, memory: 256GiB}
  max: 2
  warm: 1
  prices: {onPerHour: 5}
`;

interface Pool {
  readonly trouble: string | null;
  readonly counts: Readonly<Record<'on' | 'starting' | 'suspended', number>>;
  readonly totals: { readonly powerOnCount: number };
}

t.setTimeout(300_000);

t.test('a job has a machine started, which is parked and resumed, whatever ails another pool', async (t) => {
  const cluster = await startCluster({ agents: 0 });
  t.teardown(() => cluster.stop());
  const { api, folder, berth } = cluster;
  const pool = (name: string): Promise<Pool> => api.json('GET', `/v1/pools/${name}`);
  const file = join(folder, 'pools.yaml');
  writeFileSync(file, POOLS);
  t.match(await berth(['pools', 'apply', file]), { exitCode: 0, stdout: 'small applied\nnowhere applied\n' });
  writeFileSync(file, POOLS.replace('kind: ec2', 'kind: ec22').replace('max: 2', 'max: 0'));
  t.match(await berth(['pools', 'apply', file]), { exitCode: 64, stderr: /\[1\]\.max: / });
  await until('the pool without keys says so', async () => (await pool('nowhere')).trouble !== null);
  t.match((await pool('nowhere')).trouble, /^(credentials|configuration|unavailable): /);

  const job = await api.submit({ name: 'scan', command: ['true'] });
  const huge = await api.submit({ command: ['true'], resources: { cpus: 32 } });
  t.match(await api.finished(job.id, 60_000), { outcome: 'succeeded' });
  const { stdout: why } = await berth(['why', huge.id]);
  t.match(why, /pool nowhere (orders nothing until|has trouble with)/, 'and who needs it is told');
  await until('the machine is parked', async () => (await pool('small')).counts.suspended === 1);
  t.match((await berth(['nodes'])).stdout, /small-\d+ +small +suspended /);

  const again = await api.submit({ name: 'scan', command: ['true'] });
  t.match(await api.finished(again.id, 60_000), { outcome: 'succeeded' });
  t.equal((await pool('small')).totals.powerOnCount, 2, 'the same machine was resumed');
  t.match((await berth(['show', again.id])).stdout, /\nCost +0\.\d+( so far)? \(/);
  t.match((await berth(['report', '--since', '1h'])).stdout, /\nscan +2 /);
});
