import { spawn, spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t from 'tap';
import { Api } from '../kit/api.js';
import { BERTH_ENTRY } from '../kit/command.js';
import { until } from '../kit/until.js';

/** A coordinator whose state directory is a small file system of its own, seen from outside through /proc. */
const MOUNT_AND_RUN =
  'mount -t tmpfs -o size=3m tmpfs "$1" && exec "$2" "$3" coordinator --state-dir "$1/state" --listen 127.0.0.1:0';
const canMount = spawnSync('unshare', ['-m', 'true']).status === 0;

t.test(
  'a full disk means waiting with a visible cause, and everything goes on once there is space (P12)',
  // Only root may mount; continuous integration runs as root, so there it is never left out.
  canMount || process.env.CI === 'true' ? {} : { skip: 'file systems cannot be mounted here' },
  async (t) => {
    const folder = mkdtempSync(join(tmpdir(), 'berth-disk-'));
    const argv = ['-m', 'sh', '-c', MOUNT_AND_RUN, 'sh', folder, process.execPath, BERTH_ENTRY];
    const coordinator = spawn('unshare', argv, { stdio: 'ignore', env: { PATH: process.env.PATH, HOME: folder } });
    t.teardown(async () => {
      coordinator.kill('SIGKILL');
      await new Promise((resolve) => coordinator.once('exit', resolve));
      rmSync(folder, { recursive: true, force: true });
    });
    const inside = `/proc/${coordinator.pid}/root${folder}`;
    const read = (name: string): string => readFileSync(join(inside, 'state', name), 'utf8');
    let url = '';
    await until('the coordinator serves', () => {
      try {
        url = (JSON.parse(read('coordinator.json')) as { url: string }).url;
        return true;
      } catch {
        return false;
      }
    });
    const api = new Api(url, read('admin.token').trim());
    const accepted = await api.submit({ command: ['true'] });

    t.throws(() => writeFileSync(join(inside, 'filler'), Buffer.alloc(4_000_000)), { code: 'ENOSPC' });
    const large = { command: ['true'], env: { FILL: 'x'.repeat(60_000) } };
    t.match(await api.request('POST', '/v1/jobs', large), { status: 503, text: /"code":"store-unavailable".*full/ });
    await until('the cause is shown', async () => (await api.request('GET', '/healthz')).text.includes('full'));

    rmSync(join(inside, 'filler'));
    await until('it serves again', async () => (await api.request('GET', '/healthz')).status === 200);
    t.match(await api.json('GET', `/v1/jobs/${accepted.id}`), { state: 'active' }, 'what was accepted is still there');
    t.match(await api.request('POST', '/v1/jobs', large), { status: 201 });
  },
);
