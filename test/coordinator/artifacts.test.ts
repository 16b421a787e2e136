import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { request } from 'node:http';
import { join } from 'node:path';
import t from 'tap';
import { FileArtifactStore } from '../../coordinator/artifacts/file-artifact-store.js';
import { systemClock } from '../../shared/clock.js';
import { systemRandom } from '../../shared/random.js';
import { artifactStoreConformance, digestOf, MAX_BYTES, pieces } from '../conformance/artifact-store.js';
import { Session } from '../kit/client-session.js';
import { AGENT_TOKEN, startServer, TOKEN } from '../kit/http-server.js';
import { temporaryFolder } from '../kit/temporary-folder.js';
import { until } from '../kit/until.js';

t.test('artifacts as files', async (t) => {
  artifactStoreConformance(t, async (t) => {
    const folder = temporaryFolder(t);
    let passedMs = 0;
    const clock = { ...systemClock, now: () => systemClock.now() + passedMs };
    return {
      open: () => FileArtifactStore.open({ folder, clock, random: systemRandom, maxBytes: MAX_BYTES }),
      wait: (durationMs) => {
        passedMs += durationMs;
      },
    };
  });
});

t.test('what an upload that was cut off has left is gone at the next start', async (t) => {
  const folder = temporaryFolder(t);
  const options = { folder, clock: systemClock, random: systemRandom };
  const kept = await (await FileArtifactStore.open(options)).put(pieces(Buffer.from('kept')));
  writeFileSync(join(folder, 'incoming', 'half'), 'half');
  const store = await FileArtifactStore.open(options);
  t.same(readdirSync(join(folder, 'incoming')), []);
  t.strictSame(await store.find(kept.sha256), kept);
});

const octets = { 'content-type': 'application/octet-stream' };
const TEXT = 'a scan';
const SHA256 = digestOf(TEXT);

t.test('HTTP', async (t) => {
  const server = await startServer();
  t.teardown(() => server.close());
  const path = `/v1/artifacts/${SHA256}`;

  await t.test('an artifact is put, seen and read, by users and by agents', async (t) => {
    t.match(await server.get(path), { status: 404, body: { code: 'not-found' } });
    const put = { headers: octets, body: TEXT };
    const answer = { url: `berth://sha256:${SHA256}`, sha256: SHA256, sizeBytes: 6 };
    t.match(await server.send('PUT', path, { ...put, token: AGENT_TOKEN }), { status: 200, body: answer });
    t.match(await server.send('PUT', path, put), { status: 200, body: answer }, 'again is the same');
    t.match(await server.send('POST', '/v1/artifacts', put), { status: 200, body: answer });
    const head = await server.send('HEAD', path);
    t.match([head.status, head.headers.get('content-length'), head.text], [200, '6', '']);
    t.match(await server.get(path, { token: AGENT_TOKEN }), { status: 200, text: TEXT });
  });

  await t.test('an agent gets nothing but artifacts, and a stranger not even them', async (t) => {
    t.equal((await server.get('/v1/jobs', { token: AGENT_TOKEN })).status, 401);
    t.equal((await server.get(path, { token: 'berth_agent_wrong' })).status, 401);
    t.equal((await server.get(path, { token: null })).status, 401);
  });

  await t.test('a range is answered with a part, so that a broken transfer goes on', async (t) => {
    const part = await server.get(path, { headers: { range: 'bytes=2-' } });
    t.match([part.status, part.text, part.headers.get('content-range')], [206, 'scan', 'bytes 2-5/6']);
    t.match(await server.get(path, { headers: { range: 'bytes=0-0' } }), { status: 206, text: 'a' });
    t.match(await server.get(path, { headers: { range: 'bytes=6-' } }), { status: 416 });
    t.match(await server.get(path, { headers: { range: 'lines=1-2' } }), { status: 200, text: TEXT });
  });

  await t.test('a wrong digest is refused and named', async (t) => {
    const wrong = await server.send('PUT', path.replace(/..$/, '00'), { headers: octets, body: 'other' });
    t.match(wrong, { status: 422, body: { code: 'digest-mismatch', detail: new RegExp(digestOf('other')) } });
    t.match(await server.send('PUT', '/v1/artifacts/ABC', { headers: octets, body: 'x' }), { status: 400 });
    t.match(await server.send('PUT', path.replace(/..$/, '00'), { body: {} }), {
      status: 400,
      body: { detail: /no content/ },
    });
  });

  await t.test('an upload that is cut off leaves nothing', async (t) => {
    const cut = digestOf('half and half');
    const headers = { authorization: `Bearer ${TOKEN}`, ...octets, 'content-length': '13' };
    const upload = request(`${server.url}/v1/artifacts/${cut}`, { method: 'PUT', headers });
    upload.on('error', () => {});
    upload.write('half');
    await new Promise((resolve) => setTimeout(resolve, 50));
    upload.destroy();
    await until('its draft is gone', () => server.artifactDrafts().length === 0);
    t.equal((await server.get(`/v1/artifacts/${cut}`)).status, 404);
    t.same(server.errors, [], 'and it is no fault of the coordinator');
  });
});

t.test('put prints the name of a file, and get fetches it', async (t) => {
  const server = await startServer();
  t.teardown(() => server.close());
  const folder = temporaryFolder(t);
  const file = join(folder, 'scan');
  const large = Buffer.alloc(3_000_000, 'scan');
  writeFileSync(file, large);
  const client = new Session({ url: server.url, token: TOKEN });
  t.equal(await client.run('put', file), 0, client.stderr);
  const url = `berth://sha256:${digestOf(large)}`;
  t.equal(client.stdout, `${url}\n`);
  t.equal(await client.run('put', file), 0, 'what is there is not sent again');

  t.equal(await client.run('get', url, '-o', join(folder, 'sub', 'copy')), 0, client.stderr);
  t.ok(readFileSync(join(folder, 'sub', 'copy')).equals(large));
  t.notOk(existsSync(join(folder, 'sub', 'copy.part')));

  const input = new Session({ url: server.url, token: TOKEN }, { input: TEXT });
  t.equal(await input.run('put', '-'), 0, input.stderr);
  t.equal(input.stdout, `berth://sha256:${SHA256}\n`);
  const printed = new Session({ url: server.url, token: TOKEN });
  t.equal(await printed.run('get', `berth://sha256:${SHA256}`), 0, printed.stderr);
  t.equal(printed.stdout, TEXT);

  t.equal(await client.run('put', join(folder, 'absent')), 64);
  t.match(client.stderr, /cannot read .*absent/);
  t.equal(await client.run('get', 'scan'), 64);
  t.equal(await client.run('get', `berth://sha256:${digestOf('absent')}`), 64);
});
