import { rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import type { HpcBackend } from '../../coordinator/hpc/backend.js';
import { HpcError } from '../../coordinator/hpc/backend.js';
import { readJobLines } from '../../coordinator/hpc/backends/command/job-lines.js';
import { openBackend } from '../../coordinator/hpc/backends/open-backend.js';
import type { HpcTarget } from '../../coordinator/hpc/target.js';
import { systemClock } from '../../shared/clock.js';
import { hpcBackendConformance } from '../conformance/hpc-backend.js';
import type { HpcBench } from '../kit/hpc-site.js';
import { writeSiteTools } from '../kit/site-tools.js';
import { temporaryFolder } from '../kit/temporary-folder.js';

t.setTimeout(300_000);

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
    differs: { hasNoPartitions: true, submitsBlindly: true },
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
