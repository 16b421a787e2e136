import { execFileSync, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { parseVolumes } from '../../agent/config/volumes.js';
import { ArtifactClient } from '../../agent/staging/artifact-client.js';
import { FileStaging } from '../../agent/staging/file-staging.js';
import { mountTable } from '../../agent/staging/mount-table.js';
import { Unfit } from '../../shared/config.js';
import type { AllocationId } from '../../shared/ids.js';
import { silentLog } from '../../shared/log.js';
import { systemRandom } from '../../shared/random.js';
import { ManualClock } from '../kit/manual-clock.js';
import { temporaryFolder } from '../kit/temporary-folder.js';
import { until } from '../kit/until.js';
import { anOrder } from '../kit/wire-samples.js';

// The kernels that these tests meet may know neither NFS nor SMB. A program in front of mount(8) then mounts memory with
// the export's files in it under the export's name; everything else is real.
const realPath = process.env.PATH ?? '/usr/sbin:/usr/bin:/sbin:/bin';
const hasFuse = existsSync('/dev/fuse');
const canMount = hasFuse && process.getuid?.() === 0 && spawnSync('unshare', ['-m', 'true']).status === 0;
const skip = canMount || process.env.CI === 'true' ? false : 'file systems cannot be mounted here';
const never = new AbortController().signal;
const first = 'j1.0#1' as AllocationId;
const second = 'j2.0#1' as AllocationId;

t.setTimeout(300_000);
const keepAlive = setInterval(() => {}, 60_000);
t.teardown(() => clearInterval(keepAlive));

/** A node with the volumes `scans` (NFS, read-only) and `share` (SMB, writable), whose servers do as a file says. */
function aNode(t: Test) {
  const folder = temporaryFolder(t);
  const at = (name: string): string => join(folder, name);
  for (const name of ['bin', 'export/lung', 'state']) mkdirSync(at(name), { recursive: true });
  writeFileSync(at('export/lung/a.nii'), 'scan\n');
  writeFileSync(at('credentials'), 'username=ann\npassword=hush\n', { mode: 0o600 });
  writeFileSync(at('server'), 'works');
  const script = `#!/bin/sh
case $* in *tmpfs*) exec "${execFileSync('which', ['mount']).toString().trim()}" "$@";; esac
server=$(cat '${at('server')}')
echo "$*" >>'${at('asked')}'
case $server in
hangs) trap '' TERM; sleep 600;;
refuses) echo 'mount.nfs: Connection refused' >&2; exit 32;;
esac
PATH='${realPath}'
mount -t tmpfs -o mode=755 -- "$6" "$7" && cp -a '${at('export')}/.' "$7" && mount -o "remount,$4" "$7" 2>/dev/null ||
  mount -o "remount,\${4##*,r}" "$7" 2>/dev/null || true
`;
  writeFileSync(at('bin/mount'), script);
  chmodSync(at('bin/mount'), 0o755);
  process.env.PATH = `${at('bin')}:${realPath}`;
  t.teardown(() => {
    process.env.PATH = realPath;
    for (const { path } of mountTable()) if (path.startsWith(folder)) execFileSync('umount', ['-l', path]);
  });
  const clock = new ManualClock();
  const open = (text = volumesIn(folder)): FileStaging => {
    const volumes = parseVolumes(text);
    if (volumes instanceof Unfit) throw new Error(volumes.message);
    return new FileStaging({
      ...{ clock, random: systemRandom, log: silentLog, s3: null, inputRoots: [], volumes },
      directory: at('state/staging'),
      views: new Map([['process', async () => ({ kind: 'cell', workspace: (id) => `/tmp/${id}` })]]),
      artifacts: new ArtifactClient({ url: 'http://127.0.0.1:9', token: 'none' }),
    });
  };
  const asked = (): string[] => (existsSync(at('asked')) ? readFileSync(at('asked'), 'utf8').trim().split('\n') : []);
  const mounted = () => mountTable().filter(({ path }) => path.startsWith(at('state/mounts')));
  const server = (state: 'works' | 'hangs' | 'refuses'): void => writeFileSync(at('server'), state);
  return { folder, at, clock, open, asked, mounted, server };
}

function volumesIn(folder: string): string {
  const smb = `type=smb,source=//nas/share,credentials=${folder}/credentials,options=vers=3.1.1;uid=1000,writable=true`;
  return `scans=type=nfs,source=nas:/export/scans,options=vers=4.2;soft\nshare=${smb}`;
}

function staged(staging: FileStaging, id: AllocationId, name = 'scans', parts: object = {}) {
  const volumes = [{ name, mount: 'in', ...parts }];
  return staging.stageIn(anOrder({ allocationId: id, workdir: null, env: {}, volumes }), never);
}

t.test(
  'a volume of another machine is mounted at its first use, once, and as its operator says',
  { skip },
  async (t) => {
    const { open, asked, mounted, at } = aNode(t);
    const staging = open();
    await staging.recover([]);
    t.strictSame(mounted(), []);
    const [prepared] = await Promise.all([
      staged(staging, first, 'scans', { subpath: 'lung' }),
      staged(staging, second),
    ]);
    const source = at('state/mounts/scans');
    t.match(prepared.mounts, [{}, { kind: 'folder', source: join(source, 'lung'), readOnly: true }]);
    t.equal(readFileSync(join(source, 'lung', 'a.nii'), 'utf8'), 'scan\n');
    t.strictSame(asked(), [`-t nfs -o vers=4.2,soft,retry=0,ro,nosuid,nodev -- nas:/export/scans ${source}`]);
    await staged(staging, second, 'share', { writable: true });
    const credentials = `credentials=${at('credentials')}`;
    t.equal(
      asked()[1],
      `-t cifs -o vers=3.1.1,uid=1000,${credentials},rw,nosuid,nodev -- //nas/share ${at('state/mounts/share')}`,
    );
    t.notMatch(asked().join(), /hush/);
    chmodSync(at('credentials'), 0o640);
    await staging.remove(first);
    await staging.remove(second);
    await staging.close();
    t.strictSame(mounted(), [], 'nobody uses them any more');
    const refused = staged(open(), first, 'share', { writable: true });
    await t.rejects(refused, {
      code: 'task-start-failed',
      message: /credentials is not its owner's alone .*chmod 600/,
    });
  },
);

t.test('what nobody uses is taken down after a while; what a task uses outlives the agent', { skip }, async (t) => {
  const { open, asked, mounted, clock, at } = aNode(t);
  const staging = open();
  await staging.recover([]);
  await staged(staging, first);
  await clock.advance(3_600_000);
  t.equal(mounted().length, 1, 'its task still runs');
  await staging.close();
  t.equal(mounted().length, 1);

  const next = open();
  await next.recover([first]);
  await staged(next, second);
  t.equal(asked().length, 1, 'the next process finds it');
  await next.remove(second);
  await clock.advance(3_600_000);
  t.equal(mounted().length, 1);
  await next.remove(first);
  // To the minute in which it is taken down: further on would be past the time that unmounting may take.
  await clock.advance(600_000);
  await until('it is taken down', () => mounted().length === 0 && !existsSync(at('state/mounts/scans')));

  await staged(next, first);
  t.equal(asked().length, 2);
  const other = open(volumesIn('/x').replace('/export/scans', '/export/other'));
  await other.recover([first]);
  t.strictSame(mounted(), [], 'what is not configured any more goes');
});

t.test(
  'a server that hangs or refuses fails the start with its cause, and holds up nothing else',
  { skip },
  async (t) => {
    const { open, server, clock, mounted, asked } = aNode(t);
    const staging = open();
    server('refuses');
    const because = (reason: RegExp) => ({ code: 'unreachable', message: reason });
    await t.rejects(
      staged(staging, first),
      because(/"scans": nas:\/export\/scans cannot be mounted: .*Connection refused; is its server up/),
    );
    server('hangs');
    const hanging = staged(staging, first);
    hanging.catch(() => {});
    await until('it is being mounted', () => asked().length === 2);
    server('works');
    await staged(staging, second, 'share', { writable: true });
    await clock.advance(31_000);
    await t.rejects(hanging, because(/cannot be mounted: mount did not answer within 30000 ms/));
    t.match((await staged(staging, first)).mounts, [{}, { readOnly: true }], 'and the next one finds it well again');
    t.equal(mounted().length, 2);
  },
);

function isRunning(command: string): boolean {
  return spawnSync('pgrep', ['-f', command]).status === 0;
}

/** A mount of that name whose server is a process of ours, which never answers; `dies` ends it. */
async function silentMount(t: Test, source: string, path: string): Promise<{ dies(): Promise<void> }> {
  mkdirSync(path, { recursive: true });
  const script = `exec 5<>/dev/fuse
    mount -i -t fuse -o fd=5,rootmode=40000,user_id=0,group_id=0 "$0" "$1" && echo mounted && exec sleep 600`;
  const server = spawn('sh', ['-c', script, source, path], {
    stdio: ['ignore', 'pipe', 'inherit'],
    env: { PATH: realPath },
  });
  t.teardown(() => server.kill('SIGKILL'));
  await once(server.stdout, 'data');
  const dies = async (): Promise<void> => {
    server.kill('SIGKILL');
    await once(server, 'exit');
  };
  return { dies };
}

t.test('a server that falls silent is told from one that is gone, which is mounted anew', { skip }, async (t) => {
  const { open, asked, at, clock, mounted } = aNode(t);
  const staging = open();
  const server = await silentMount(t, 'nas:/export/scans', at('state/mounts/scans'));
  await staging.recover([]);
  const hanging = staged(staging, first);
  hanging.catch(() => {});
  await until('it is looked at', () => clock.nextAt() !== undefined && isRunning(`look ${at('state/mounts/scans')}`));
  await staged(staging, second, 'share');
  await clock.advance(11_000);
  await t.rejects(hanging, {
    code: 'unreachable',
    message: /"scans": nas:\/export\/scans: it does not answer: sh did not/,
  });
  t.equal(asked().length, 1, 'it may come back: nothing is done to it');
  await server.dies();
  t.match((await staged(staging, first, 'scans', { subpath: 'lung' })).mounts, [{}, { readOnly: true }]);
  t.equal(asked().length, 2);
  t.equal(mounted().length, 2);

  const away = await silentMount(t, 'nas:/export/away', at('state/mounts/away'));
  await open().recover([first]);
  t.notOk(
    mounted().some(({ path }) => path.endsWith('away')),
    'and one that hangs is taken down without asking it',
  );
  await away.dies();
});

t.test('the real programs take these options as far as the kernel goes', { skip }, async (t) => {
  const { open, at } = aNode(t);
  process.env.PATH = realPath;
  const smb = `share=type=smb,source=//127.0.0.1/share,credentials=${at('credentials')},options=vers=3.1.1;port=9`;
  const staging = open(`scans=type=nfs,source=127.0.0.1:/export,options=vers=4.2;port=9\n${smb}`);
  await t.rejects(staged(staging, first), {
    code: 'unreachable',
    message: /127\.0\.0\.1:\/export cannot be mounted: mount\.nfs: (mount\(2\): )?(No such device|Connection refused)/,
  });
  await t.rejects(staged(staging, first, 'share'), {
    code: 'unreachable',
    message: /127\.0\.0\.1\/share cannot be mounted: mount error.*(not supported by the system|111|113)/,
  });
});

t.test('volumes of other machines are checked in the configuration, each with a remedy', async (t) => {
  t.strictSame(
    parseVolumes(
      'a=type=nfs,source=nas.lab:/export/a,options=vers=4.2;soft\nb=type=smb,source=//nas/b c'.replace(' c', ''),
    ),
    [
      {
        name: 'a',
        writable: false,
        place: {
          kind: 'network',
          protocol: 'nfs',
          source: 'nas.lab:/export/a',
          options: ['vers=4.2', 'soft'],
          credentialsFile: null,
        },
      },
      {
        name: 'b',
        writable: false,
        place: { kind: 'network', protocol: 'smb', source: '//nas/b', options: [], credentialsFile: null },
      },
    ],
  );
  const wrong = {
    'a=type=afs,source=x:/y': /its type "afs" is neither nfs nor smb/,
    'a=type=nfs,source=//nas/x': /is no nfs share; write for example nas:\/export/,
    'a=type=smb,source=nas:/x': /is no smb share; write for example \/\/nas\/scans/,
    'a=type=nfs': /its source "" is no nfs share/,
    'a=type=nfs,source=-o:/x': /is no nfs share/,
    'a=type=nfs,source=nas:/x,path=/y': /path does not go with type=nfs/,
    'a=source=nas:/x': /source goes with type=nfs or type=smb/,
    'a=type=smb,source=//nas/x,options=password=x': /option "password=x" cannot be given.*credentials/,
    'a=type=nfs,source=nas:/x,options=rw': /option "rw" cannot be given; use writable/,
    'a=type=nfs,source=nas:/x,credentials=/f': /for type=smb/,
    'a=type=smb,source=//nas/x,credentials=f': /absolute path/,
  };
  for (const [text, message] of Object.entries(wrong)) {
    const found = parseVolumes(text);
    t.match(found instanceof Unfit ? found.message : 'taken', message, text);
  }
});
