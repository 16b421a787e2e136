import { spawnSync } from 'node:child_process';
import { chmodSync, existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { runCommand } from '../kit/command.js';
import { temporaryFolder } from '../kit/temporary-folder.js';

// A machine of its own, booted by systemd: this one's files below a layer that takes what is written.
t.setTimeout(400_000);
const folder = temporaryFolder(t);
const merged = join(folder, 'merged');
const env = { PATH: process.env.PATH ?? '/usr/bin:/bin', HOME: folder, TMPDIR: folder };
const sh = (script: string, timeoutMs = 300_000) => runCommand(['sh', '-ec', script], { env, timeoutMs });

const SCRIPT = `#!/bin/bash
exec >/told 2>/trace
set -x
cd /package && tar -xzf berth.tgz --strip-components=1
say() { echo "$1=$2"; }
pid() { systemctl show "berth-$1" -p MainPID --value; }
# With version 1 the container is given only systemd's own hierarchy to write; what limits is the same as outside.
for group in memory pids cpu cpuacct cpuset blkio; do
  [[ -d /sys/fs/cgroup/$group ]] && mount -o remount,bind,rw /sys/fs/cgroup/$group
done
./scripts/install coordinator
say coordinator "$(systemctl is-active berth-coordinator) $(systemctl show berth-coordinator -p User --value)"
./scripts/install agent --url http://127.0.0.1:7878 --token-file /var/lib/berth/agent.token --name box
say agent "$(systemctl is-active berth-agent)"
export BERTH_STATE_DIR=/var/lib/berth
say hello "$(berth run --wait -- echo hello)"
isolated() { berth run --wait --constraint 'isolation = full' --memory 64MiB -- "$@"; }
say isolated "$(isolated sh -c 'id -un; ls -A /tmp | wc -l; ps -e -o pid= | wc -l' | tr '\n' ' ')"
isolated awk 'BEGIN { x = "x"; while (1) x = x x }'
say limited $?
job=$(berth run -d -- sh -c 'until test -e /go; do sleep 0.2; done; echo survived attempt $BERTH_ATTEMPT')
until berth ls | grep -q running; do sleep 0.2; done
before=$(pid agent)
systemctl restart berth-agent
kill -9 "$(pid agent)"
touch /go
berth wait "$job"
say waited $?
say logs "$(berth logs "$job")"
[[ $(pid agent) != "$before" ]] && say restarted yes
mkdir -p /etc/systemd/system/berth-coordinator.service.d
printf '[Service]\\nWatchdogSec=4s\\nTimeoutAbortSec=2s\\n' >/etc/systemd/system/berth-coordinator.service.d/watchdog.conf
systemctl daemon-reload
systemctl restart berth-coordinator
healthy=$(pid coordinator)
sleep 9
[[ $(pid coordinator) == "$healthy" ]] && say undisturbed yes
kill -STOP "$healthy"
for ((tries = 0; tries < 100; tries += 1)); do
  [[ $(pid coordinator) != "$healthy" && $(systemctl is-active berth-coordinator) == active ]] && break
  sleep 0.3
done
[[ $(pid coordinator) != "$healthy" ]] && say revived yes
for role in agent coordinator; do ./scripts/install --uninstall $role --purge; done
say left "$(ls -d /opt/berth /etc/berth /var/lib/berth* /usr/local/bin/berth 2>/dev/null | wc -l)"
`;

const UNIT = `[Unit]
Requires=basic.target
After=basic.target
SuccessAction=poweroff-force
FailureAction=poweroff-force
[Service]
Type=oneshot
ExecStart=/script
TimeoutStartSec=240
`;

/** Why no machine can be booted here; undefined when it can. */
async function obstacle(): Promise<string | undefined> {
  if (process.getuid?.() !== 0) return 'only root can boot a container';
  if (!spawnSync('systemd-nspawn', ['--version']).stdout)
    return 'systemd-nspawn (Debian: systemd-container) is missing';
  const layers = `lowerdir=/,upperdir=${folder}/layer/up,workdir=${folder}/layer/work`;
  const mounting = await sh(`
    mkdir -p ${folder}/layer ${merged}
    mount -t tmpfs tmpfs ${folder}/layer
    mkdir ${folder}/layer/up ${folder}/layer/work
    mount -t overlay overlay -o ${layers} ${merged}
    rm -f ${merged}/etc/machine-id && touch ${merged}/etc/machine-id
    systemd-nspawn --quiet -D ${merged} --register=no --keep-unit --private-network true`);
  return mounting.exitCode === 0 ? undefined : `no container starts here: ${mounting.stderr.trim()}`;
}

t.teardown(() => {
  for (const path of [merged, join(folder, 'layer')]) spawnSync('umount', ['-l', path]);
  rmSync(folder, { recursive: true, force: true });
});
const missing = await obstacle();

t.test(
  'installed, both daemons live under systemd, tasks are isolated, and outlive an agent',
  // In continuous integration a machine that cannot be booted is a failure, never a silent gap.
  { skip: process.env.CI === 'true' ? false : (missing ?? false) },
  async (t) => {
    t.equal(missing, undefined);
    mkdirSync(join(merged, 'package'));
    const packed = await sh(`scripts/pack ${merged}/package/berth.tgz`);
    t.equal(packed.exitCode, 0, packed.stderr);
    writeFileSync(join(merged, 'script'), SCRIPT);
    chmodSync(join(merged, 'script'), 0o755);
    writeFileSync(join(merged, 'etc/systemd/system/box-test.service'), UNIT);
    const flags = '--quiet --register=no --keep-unit --private-network';
    await sh(
      `systemd-nspawn -D ${merged} ${flags} -b systemd.unit=box-test.service </dev/null >${folder}/console 2>&1`,
    );
    const told = existsSync(join(merged, 'told')) ? readFileSync(join(merged, 'told'), 'utf8') : '';
    const facts = Object.fromEntries([...told.matchAll(/^(\w+)=(.*)$/gm)].map(([, name, value]) => [name, value]));
    t.strictSame(facts, {
      coordinator: 'active berth',
      ...{
        agent: 'active',
        hello: 'hello',
        isolated: 'nobody 1 4 ',
        limited: '137',
        waited: '0',
        logs: 'survived attempt 1',
        restarted: 'yes',
      },
      ...{ undisturbed: 'yes', revived: 'yes', left: '0' },
    });
    if (!t.passing()) t.comment(readFileSync(join(merged, 'trace'), 'utf8').slice(-3_000));
  },
);
