import { rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import type { HpcBackend } from '../../coordinator/hpc/backend.js';
import { HpcError } from '../../coordinator/hpc/backend.js';
import { readJobLines } from '../../coordinator/hpc/backends/command/job-lines.js';
import { openBackend } from '../../coordinator/hpc/backends/open-backend.js';
import { parseTarget } from '../../coordinator/hpc/read-target.js';
import type { HpcTarget } from '../../coordinator/hpc/target.js';
import { systemClock } from '../../shared/clock.js';
import { isRefusal } from '../../shared/errors.js';
import { type HpcBench, hpcBackendConformance } from '../conformance/hpc-backend.js';
import { startRimrock } from '../fakes/fake-rimrock.js';
import { writeSiteTools } from '../kit/site-tools.js';
import { slurmTests } from '../kit/slurm.js';
import { startSshd } from '../kit/sshd.js';
import { temporaryFolder } from '../kit/temporary-folder.js';

t.setTimeout(300_000);

const signal = new AbortController().signal;
const PATH = process.env.PATH ?? '';

function opener(secrets: Readonly<Record<string, string>>): (target: HpcTarget) => HpcBackend {
  const secret = async (name: string): Promise<string> => secrets[name] ?? '';
  return (target) => openBackend(target, { env: { PATH }, sshAgentSocket: undefined, secret, clock: systemClock });
}

t.test('a site by tools of its own', async (t) => {
  const folder = temporaryFolder(t);
  const site = writeSiteTools(folder);
  const commands = {
    submit: [site, 'submit', '{tag}', '{script}', '{partition}', '{array}'],
    status: [site, 'status', '{ids}'],
    cancel: [site, 'cancel', '{id}'],
    check: ['echo', 'batch 1.0'],
  };
  const bench: HpcBench = {
    target: { backend: 'command', commands },
    stagingRoot: join(folder, 'work'),
    open: opener({}),
    forget: async (id) => rmSync(join(folder, 'jobs', id), { recursive: true }),
    outage: {
      begin: () => writeFileSync(join(folder, 'down'), ''),
      end: () => rmSync(join(folder, 'down')),
    },
    differs: { hasNoPartitions: true },
  };
  hpcBackendConformance(t, () => bench);

  t.test('what its tools print wrongly is said with the line', async (t) => {
    t.throws(() => readJobLines('{"id": 1}\n'), {
      kind: 'configuration',
      message: /\{"id": 1\}; a job has an "id" and a "tag"/,
    });
    t.throws(() => readJobLines('{"id": 1, "tag": "x", "state": "done"}'), { message: /"state" is one of pending, / });
    t.throws(() => readJobLines('job 1 is running'), HpcError);
    t.same(readJobLines('\n{"id":1,"tag":"x","state":"ended","outcome":"preempted"}').get('1')?.outcome, {
      kind: 'preempted',
    });
  });
});

t.test('Rimrock by its public description', slurmTests, async (t) => {
  const folder = temporaryFolder(t);
  const sshd = await startSshd(t, { SITE: 'cluster' });
  const rimrock = await startRimrock(t, 'certificate');
  const secrets: Record<string, string> = { proxy: 'certificate\n', key: sshd.privateKey };
  const ssh = { host: '127.0.0.1', port: sshd.port, user: sshd.user, hostKey: sshd.hostKey, credential: 'key' };
  const bench: HpcBench = {
    target: { backend: 'rimrock', endpoint: rimrock.url, credential: 'proxy', ssh },
    stagingRoot: join(folder, 'work'),
    open: opener(secrets),
    closedPartition: 'closed',
    forget: async (id) => rimrock.site.forget(id),
    outage: {
      begin: () => {
        rimrock.site.trouble = new HpcError('unavailable', 'down');
      },
      end: () => {
        rimrock.site.trouble = undefined;
      },
    },
    differs: { hasNoPartitions: true, submitsTwice: true, outcomesAreMarks: true },
  };
  hpcBackendConformance(t, () => bench);

  t.test('a proxy that has expired is a matter of credentials, and the next is taken', async (t) => {
    const target = parseTarget({ ...bench.target, stagingRoot: bench.stagingRoot });
    if (isRefusal(target)) throw new Error(target.detail);
    const backend = bench.open(target);
    rimrock.proxy = 'another';
    await t.rejects(backend.find('x', signal), { kind: 'credentials', message: /proxy expired/ });
    secrets.proxy = 'another';
    t.same(await backend.find('x', signal), []);
    await backend.close();
  });
});
