import { readdirSync, rmSync, statSync } from 'node:fs';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { type HpcBackend, HpcError } from '../../coordinator/hpc/backend.js';
import { openBackend } from '../../coordinator/hpc/backends/open-backend.js';
import { parseTarget } from '../../coordinator/hpc/read-target.js';
import { systemClock } from '../../shared/clock.js';
import { isRefusal } from '../../shared/errors.js';
import { hpcBackendConformance } from '../conformance/hpc-backend.js';
import { type FakePlgData, startPlgData } from '../fakes/fake-plgdata.js';
import { type FakeRimrock, startRimrock } from '../fakes/fake-rimrock.js';
import type { HpcBench } from '../kit/hpc-site.js';
import { slurmTests } from '../kit/slurm.js';
import { startSshd } from '../kit/sshd.js';
import { temporaryFolder } from '../kit/temporary-folder.js';

t.setTimeout(300_000);

const signal = new AbortController().signal;

/** Rimrock before a site in memory; where its files are is for the target to say. */
async function aRimrock(t: Test): Promise<Rimrock> {
  const rimrock = await startRimrock(t, 'certificate');
  const secrets: Record<string, string> = { proxy: 'certificate\n' };
  const means = { env: { PATH: process.env.PATH ?? '' }, sshAgentSocket: undefined, clock: systemClock };
  return {
    rimrock,
    secrets,
    bench: (place) => ({
      target: { backend: 'rimrock', endpoint: rimrock.url, credential: 'proxy', ...place },
      // A blank is what breaks a command that forgets to quote.
      stagingRoot: join(temporaryFolder(t), 'my work'),
      open: (target) => openBackend(target, { ...means, secret: async (name) => secrets[name] ?? '' }),
      closedPartition: 'closed',
      forget: async (id: string) => rimrock.site.forget(id),
      outage: {
        begin: () => {
          rimrock.site.trouble = new HpcError('unavailable', 'down');
        },
        end: () => {
          rimrock.site.trouble = undefined;
        },
      },
      differs: { hasNoPartitions: true, submitsTwice: true, outcomesAreMarks: true },
    }),
  };
}

interface Rimrock {
  readonly rimrock: FakeRimrock;
  readonly secrets: Record<string, string>;
  bench(place: object): HpcBench;
}

t.test('Rimrock with files over SSH', slurmTests, async (t) => {
  const sshd = await startSshd(t, { SITE: 'cluster' });
  const { secrets, bench: benchOf } = await aRimrock(t);
  secrets.key = sshd.privateKey;
  const ssh = { host: '127.0.0.1', port: sshd.port, user: sshd.user, hostKey: sshd.hostKey, credential: 'key' };
  const bench = benchOf({ ssh });
  hpcBackendConformance(t, () => bench);
});

t.test('Rimrock with files by PLGData', async (t) => {
  const plgdata = await startPlgData(t, 'certificate');
  const { rimrock, secrets, bench: benchOf } = await aRimrock(t);
  const place = { endpoint: plgdata.url, site: plgdata.site, host: 'login.example' };
  const bench = benchOf({ plgdata: place });
  const open = (change: object = {}): HpcBackend => {
    const { target, stagingRoot } = bench;
    const parsed = parseTarget({ ...target, stagingRoot, plgdata: { ...place, ...change } });
    if (isRefusal(parsed)) throw new Error(parsed.detail);
    return bench.open(parsed);
  };
  const parts: Parts = { rimrock, plgdata, secrets, stagingRoot: bench.stagingRoot, open };
  hpcBackendConformance(t, () => bench);
  t.test('nothing of it is left', async (t) => t.notMatch(readdirSync(bench.stagingRoot).join(), /pieces/));
  t.test('what is large comes by PLGData, a line of output by the answer about it', (t) => largeFiles(t, parts));
  t.test('a proxy that has expired is a matter of credentials, and the next is taken', (t) => expires(t, parts));
  t.test('what PLGData does not grant is said by name', (t) => refusals(t, parts));
});

interface Parts {
  readonly rimrock: FakeRimrock;
  readonly plgdata: FakePlgData;
  readonly secrets: Record<string, string>;
  readonly stagingRoot: string;
  open(change?: object): HpcBackend;
}

async function largeFiles(t: Test, { open, plgdata, stagingRoot }: Parts): Promise<void> {
  const backend = open();
  const { files } = backend;
  const path = `${stagingRoot}/large`;
  const bytes = Buffer.from(Array.from({ length: 700_000 }, (_, position) => (position * 31) % 251));
  await files.write(path, bytes, { offset: 0, mode: 0o600 }, signal);
  t.equal(statSync(path).mode & 0o777, 0o600);
  plgdata.calls.length = 0;
  const read = async (offset: number, maxBytes: number): Promise<Buffer> =>
    Buffer.from((await files.read(path, { offset, maxBytes }, signal)) ?? '?');
  t.ok((await read(0, 1_000_000)).equals(bytes));
  t.ok((await read(1_001, 300_000)).equals(bytes.subarray(1_001, 301_001)));
  t.same(plgdata.calls, ['download', 'remove', 'download', 'remove']);
  await files.write(path, Buffer.from('more\r\n\n'), { offset: bytes.length, mode: 0o600 }, signal);
  await files.write(path, Buffer.from('more\r\n\n'), { offset: bytes.length, mode: 0o600 }, signal);
  plgdata.calls.length = 0;
  t.equal((await read(bytes.length, 100)).toString(), 'more\r\n\n');
  t.equal((await read(bytes.length + 7, 100)).toString(), '');
  t.same(plgdata.calls, []);
  await backend.close();
}

async function expires(t: Test, { open, rimrock, plgdata, secrets }: Parts): Promise<void> {
  const backend = open();
  rimrock.proxy = 'another';
  await t.rejects(backend.find('x', signal), { kind: 'credentials', message: /proxy expired/ });
  secrets.proxy = 'another';
  t.same(await backend.find('x', signal), []);
  await t.rejects(backend.check(signal), { kind: 'credentials', message: /403 .*proxy has expired; renew the proxy/ });
  plgdata.proxy = 'another';
  t.match(await backend.check(signal), { system: /Rimrock/ });
  await backend.close();
}

const TROUBLES = [
  [502, 'unavailable', /PLGData answers 502 to \/upload/],
  [413, 'configuration', /413 to \/upload of .* at ares: it takes no piece as large as that/],
  [401, 'credentials', /renew the proxy/],
] as const;

async function refusals(t: Test, { open, plgdata, stagingRoot }: Parts): Promise<void> {
  const elsewhere = open({ site: 'zeus' });
  const unknownSite = /404 to \/list of \/.* at zeus.*plgdata.site/;
  await t.rejects(elsewhere.check(signal), { kind: 'configuration', message: unknownSite });
  await elsewhere.close();
  const backend = open();
  const write = (): Promise<void> =>
    backend.files.write(`${stagingRoot}/x`, Buffer.from('x'), { offset: 0, mode: 0o600 }, signal);
  for (const [status, kind, message] of TROUBLES) {
    plgdata.trouble = status;
    await t.rejects(write(), { kind, message });
  }
  plgdata.trouble = undefined;
  rmSync(stagingRoot, { recursive: true });
  await write();
  await backend.close();
}
