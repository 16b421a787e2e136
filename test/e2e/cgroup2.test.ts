import { execFileSync, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, copyFileSync, mkdirSync, readdirSync, writeFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import t from 'tap';
import { temporaryFolder } from '../kit/temporary-folder.js';

// Version 2 of control groups, with every controller, whatever the kernel of this machine offers: Debian's own kernel in
// an emulated machine, whose root is this one's with a layer that takes what is written. Takes minutes.
const BUILD = fileURLToPath(new URL('../..', import.meta.url));
const GUEST = join(BUILD, 'test/vm/cgroup2-guest.js');
const MODULES = ['virtio_pci', 'virtiofs', 'overlay'];
const FILE_SERVER = '/usr/lib/qemu/virtiofsd';
const BOOT_LIMIT_MS = 600_000;

t.setTimeout(BOOT_LIMIT_MS + 60_000);

const INIT = `#!/bin/busybox sh
b=/bin/busybox
$b mount -t proc proc /proc && $b mount -t sysfs sys /sys && $b mount -t devtmpfs dev /dev
for module in $($b cat /modules/order); do $b insmod /modules/$module; done
$b mount -t virtiofs host /host && $b mount -t tmpfs layer /layer && $b mkdir /layer/up /layer/work /layer/root &&
  $b mount -t overlay -o lowerdir=/host,upperdir=/layer/up,workdir=/layer/work root /layer/root || $b poweroff -f
for folder in proc sys dev; do $b mount --move /$folder /layer/root/$folder; done
cd /layer/root
$b mkdir -p dev/shm
$b mount -t tmpfs shm dev/shm
$b mount -t tmpfs var var/tmp
$b mount -t cgroup2 groups sys/fs/cgroup
$b ip link set lo up
echo 0 >proc/sys/kernel/printk
$b cp /guest .
exec $b chroot . /bin/sh /guest
`;

function guestScript(): string {
  return `export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root
cd '${BUILD}'
'${process.execPath}' '${GUEST}' </dev/null 2>&1
echo "guest ended with $?"
echo o >/proc/sysrq-trigger
sleep 60
`;
}

/** The kernel and an initial file system with the modules that reach this machine's files. */
function prepare(folder: string): { readonly kernel: string; readonly initrd: string } {
  const run = (script: string): string =>
    execFileSync('sh', ['-ec', script], { cwd: folder, stdio: 'pipe' }).toString();
  const image = run("apt-cache depends linux-image-cloud-amd64 | sed -n 's/.*Depends: //p' | head -n 1").trim();
  run(`apt-get download -qq ${image} && dpkg-deb -x ${image}_*.deb kernel`);
  const [version = ''] = readdirSync(join(folder, 'kernel/lib/modules'));
  run(`depmod -b kernel ${version}`);
  for (const name of ['bin', 'modules', 'proc', 'sys', 'dev', 'host', 'layer'])
    mkdirSync(join(folder, 'initial', name), { recursive: true });
  const needed = MODULES.flatMap((name) =>
    run(`modprobe -d kernel -S ${version} --show-depends ${name}`)
      .split('\n')
      .filter((line) => line.startsWith('insmod')),
  ).map((line) => line.split(' ')[1] ?? '');
  const order = [...new Set(needed)];
  for (const path of order) copyFileSync(path, join(folder, 'initial/modules', basename(path)));
  writeFileSync(join(folder, 'initial/modules/order'), order.map((path) => basename(path)).join('\n'));
  copyFileSync('/bin/busybox', join(folder, 'initial/bin/busybox'));
  writeFileSync(join(folder, 'initial/init'), INIT);
  chmodSync(join(folder, 'initial/init'), 0o755);
  writeFileSync(join(folder, 'initial/guest'), guestScript());
  run('cd initial && find . | cpio -o -H newc 2>/dev/null | gzip -1 >../initrd');
  return { kernel: join(folder, `kernel/boot/vmlinuz-${version}`), initrd: join(folder, 'initrd') };
}

const skip = process.env.BERTH_SLOW === '1' ? false : 'slow; BERTH_SLOW=1 runs it';

t.test('isolated tasks are limited and counted by real control groups of version 2', { skip }, async (t) => {
  const folder = temporaryFolder(t);
  const { kernel, initrd } = prepare(folder);
  const socket = join(folder, 'files');
  const server = spawn(FILE_SERVER, [`--socket-path=${socket}`, '-o', 'source=/,sandbox=chroot,cache=always']);
  t.teardown(() => server.kill('SIGKILL'));
  await once(server.stderr, 'data');
  const machine = ['-accel', 'tcg,thread=multi', '-cpu', 'max', '-smp', '2', '-m', '2048', '-nographic', '-no-reboot'];
  const memory = ['-object', 'memory-backend-memfd,id=memory,size=2048M,share=on', '-numa', 'node,memdev=memory'];
  const files = ['-chardev', `socket,id=files,path=${socket}`, '-device', 'vhost-user-fs-pci,chardev=files,tag=host'];
  const boot = ['-kernel', kernel, '-initrd', initrd, '-append', 'console=ttyS0 quiet panic=-1'];
  const { stdout } = spawnSync('qemu-system-x86_64', [...machine, ...memory, ...files, ...boot], {
    timeout: BOOT_LIMIT_MS,
    killSignal: 'SIGKILL',
    stdio: ['ignore', 'pipe', 'ignore'],
  });
  const console = stdout.toString().replaceAll('\r', '');
  t.match(console, /^guest ended with 0$/m);
  t.match(console, /^ok 1 - this kernel has control groups of version 2 alone/m);
  if (!t.passing()) t.comment(console.slice(-8_000));
  t.comment(/# Linux version \S+/.exec(console)?.[0] ?? 'no kernel');
});
