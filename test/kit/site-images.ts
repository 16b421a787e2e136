import { execFileSync, spawnSync } from 'node:child_process';
import { chmodSync, copyFileSync, mkdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Test } from 'tap';

/** What a site has to run images with, as `container` and `setup` of its target and `image` of a job. */
export interface SiteRuntime {
  readonly container: string;
  readonly setup: string;
  readonly image: string;
}

/**
 * One and the same image, of this machine's static busybox, for each runtime. Podman and Charliecloud are real;
 * Apptainer is in no repository of Debian 12 and has a stand-in, which keeps to its arguments.
 */
export interface SiteImages {
  readonly podman: SiteRuntime;
  readonly charliecloud: SiteRuntime;
  readonly apptainer: SiteRuntime;
  /** Names of Podman's containers. */
  containers(): readonly string[];
  /** With what the stand-in was called, a line a call, the commands left out. */
  standInArguments(): string;
}

const PROGRAMS = ['cat', 'echo', 'printf', 'sh', 'sleep', 'true', 'wc'];

export function siteImages(t: Pick<Test, 'teardown'>, folder: string): SiteImages {
  for (const script of ['scripts/docker-install', 'scripts/batch-install']) {
    const { status, stderr } = spawnSync(script, { encoding: 'utf8' });
    if (status !== 0) throw new Error(`${script}: ${stderr}`);
  }
  const root = makeRoot(join(folder, 'root'));
  const env = podmanEnv(join(folder, 'podman'));
  const podman = (...args: string[]): string =>
    execFileSync('podman', args, {
      env: { ...process.env, ...env },
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'pipe'],
    });
  const archive = join(folder, 'root.tar');
  execFileSync('tar', ['-C', root, '-cf', archive, '.']);
  podman('import', '--change', 'ENV PATH=/bin', archive, 'localhost/busybox:site');
  t.teardown(() => {
    spawnSync('podman', ['rm', '--all', '--force', '--time=0'], { env: { ...process.env, ...env }, timeout: 30_000 });
    spawnSync('umount', ['-l', join(folder, 'podman/data/overlay')]);
  });
  const exports = Object.entries(env).map(([name, value]) => `export ${name}=${value}`);
  const standIn = writeStandIn(join(folder, 'bin'));
  return {
    podman: { container: 'podman', setup: exports.join('\n'), image: 'localhost/busybox:site' },
    charliecloud: { container: 'charliecloud', setup: '', image: root },
    apptainer: { container: 'apptainer', setup: `PATH=${join(folder, 'bin')}:$PATH`, image: 'busybox:site' },
    containers: () => podman('ps', '--all', '--format', '{{.Names}}').split('\n').filter(Boolean),
    standInArguments: () => readFileSync(standIn, 'utf8'),
  };
}

/** With the places at which Charliecloud's images let things be mounted. */
function makeRoot(root: string): string {
  for (const name of ['bin', 'dev', 'etc', 'proc', 'sys', 'tmp', 'mnt/0', 'mnt/1']) {
    mkdirSync(join(root, name), { recursive: true });
  }
  const busybox = execFileSync('sh', ['-c', 'command -v busybox'], { encoding: 'utf8' }).trim();
  copyFileSync(busybox, join(root, 'bin/busybox'));
  chmodSync(join(root, 'bin/busybox'), 0o755);
  for (const name of PROGRAMS) symlinkSync('busybox', join(root, 'bin', name));
  for (const name of ['passwd', 'group', 'hosts', 'resolv.conf']) writeFileSync(join(root, 'etc', name), '');
  return root;
}

/** Nothing of the machine's configuration; runc and cgroupfs run also where there is no systemd. */
function podmanEnv(folder: string): Readonly<Record<string, string>> {
  mkdirSync(folder, { recursive: true });
  const own = {
    CONTAINERS_CONF: join(folder, 'containers.conf'),
    CONTAINERS_STORAGE_CONF: join(folder, 'storage.conf'),
  };
  writeFileSync(
    own.CONTAINERS_CONF,
    `[containers]\ndefault_ulimits = []\n[engine]\ncgroup_manager = "cgroupfs"\nevents_logger = "file"\nruntime = "runc"\ntmp_dir = "${folder}/tmp"\n`,
  );
  writeFileSync(
    own.CONTAINERS_STORAGE_CONF,
    `[storage]\ndriver = "overlay"\ngraphroot = "${folder}/data"\nrunroot = "${folder}/run"\n`,
  );
  return own;
}

/** Takes `exec [--nv] [--bind A[:B[:ro]]]… --pwd DIR IMAGE COMMAND…` and runs the command there, outside of any image. */
function writeStandIn(folder: string): string {
  mkdirSync(folder);
  const file = join(folder, 'apptainer');
  const said = join(folder, 'said');
  writeFileSync(
    file,
    `#!/bin/sh
[ "$1" = exec ] || exit 64
said=
while shift; do
  case $1 in
  --nv) said="$said $1";;
  --bind|--pwd) said="$said $1 $2"; [ "$1" != --pwd ] || cd "$2" || exit 65; shift;;
  --*) exit 66;;
  *) echo "$said $1" >>${said}; shift; exec "$@";;
  esac
done
`,
  );
  chmodSync(file, 0o755);
  return said;
}
