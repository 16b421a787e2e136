import { chmodSync, existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { silentLog } from '../../shared/log.js';
import { readServiceEnvironment, SystemdService } from '../../shared/systemd.js';
import { ManualClock } from '../kit/manual-clock.js';
import { temporaryFolder } from '../kit/temporary-folder.js';
import { until } from '../kit/until.js';

t.test('only a service of systemd is told apart from a program that a person starts', async (t) => {
  t.equal(readServiceEnvironment({}, 7), null);
  t.equal(readServiceEnvironment({ NOTIFY_SOCKET: '' }, 7), null);
  const socket = { NOTIFY_SOCKET: '/run/notify' };
  t.strictSame(readServiceEnvironment(socket, 7), { notifySocket: '/run/notify', watchdogMs: null });
  const watched = { ...socket, WATCHDOG_USEC: '60000000' };
  t.equal(readServiceEnvironment(watched, 7)?.watchdogMs, 60_000);
  t.equal(readServiceEnvironment({ ...watched, WATCHDOG_PID: '7' }, 7)?.watchdogMs, 60_000);
  t.equal(readServiceEnvironment({ ...watched, WATCHDOG_PID: '8' }, 7)?.watchdogMs, null, "another process's watchdog");
});

t.test('it says that it is ready once, gives signs of life in time, and says that it stops', async (t) => {
  const folder = temporaryFolder(t);
  const told = join(folder, 'told');
  const program = join(folder, 'notify');
  writeFileSync(program, `#!/bin/sh\necho "$NOTIFY_SOCKET $*" >>'${told}'\n`);
  chmodSync(program, 0o755);
  const lines = (): string[] => (existsSync(told) ? readFileSync(told, 'utf8').trim().split('\n') : []);
  const clock = new ManualClock();
  const options = { clock, log: silentLog, pid: 42, program };
  const manager = new SystemdService({ notifySocket: '/run/n', watchdogMs: 60_000 }, options);
  await clock.advance(120_000);
  t.strictSame(lines(), [], 'nothing before it works');
  manager.ready();
  manager.ready();
  await until('systemd was told', () => lines().length === 1);
  for (let sign = 1; sign <= 3; sign += 1) {
    await clock.advance(20_000);
    await until(`sign ${sign}`, () => lines().length === 1 + sign);
  }
  manager.stopping();
  await until('all is told', () => lines().length === 5);
  t.strictSame(lines(), [
    '/run/n --ready --pid=42',
    ...Array.from({ length: 3 }, () => '/run/n WATCHDOG=1'),
    '/run/n STOPPING=1',
  ]);
  const nobody = new SystemdService(null, options);
  nobody.ready();
  nobody.stopping();
  await new Promise((resolve) => setTimeout(resolve, 50));
  t.equal(lines().length, 5, 'without systemd nothing is started');
});
