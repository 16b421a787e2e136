import { readFileSync } from 'node:fs';
import t from 'tap';
import { planIsolation } from '../../agent/driver/process/isolation.js';
import type { AllocationId } from '../../shared/ids.js';
import { isolatedDriver, outputOf } from '../kit/isolation-bench.js';

// Runs inside the machine that test/e2e/cgroup2.test.ts boots, where a program starts in seconds, not milliseconds.
t.setTimeout(600_000);
const keepAlive = setInterval(() => {}, 60_000);
t.teardown(() => clearInterval(keepAlive));
const MAX_PROCESSES = 20;
const plan = await planIsolation({
  userName: 'nobody',
  allowedUsers: [],
  maxProcesses: MAX_PROCESSES,
  isolation: 'full',
});
const nameOf = (sequence: number): AllocationId => `j${sequence}.0#1` as AllocationId;

t.test('this kernel has control groups of version 2 alone, and tasks are isolated in them', async (t) => {
  t.match(plan, { kind: 'full', home: { version: 2 } });
  if (plan.kind !== 'full') return;
  t.strictSame([...plan.home.folders.keys()].sort(), ['cpu', 'cpuacct', 'cpuset', 'io', 'memory', 'pids']);
  const { watched, shell } = await isolatedDriver(t, plan);
  const parts = { resources: { cpuMillis: 500, memoryMiB: 60, diskMiB: 0 } };

  const looking = `id -un; cd /sys/fs/cgroup/$(sed -n 's/^0:://p' /proc/self/cgroup) && cat cpu.max memory.max memory.swap.max pids.max`;
  await watched.driver.start(shell(nameOf(1), looking, parts));
  t.match((await watched.ended(nameOf(1))).end, { kind: 'exited', exitCode: 0 });
  // What stands for the task's namespaces counts as its own: 4 MiB and two processes.
  t.equal(await outputOf(watched, nameOf(1)), `nobody\n50000 100000\n${64 * 1024 ** 2}\n0\n${MAX_PROCESSES + 2}\n`);

  await watched.driver.start(shell(nameOf(2), `exec awk 'BEGIN { x = "x"; while (1) x = x x }'`, parts));
  t.match((await watched.ended(nameOf(2))).end, { kind: 'signaled', signal: 'SIGKILL', oom: true });

  const bomb = `n=0; while [ $n -lt 60 ]; do sleep 60 & n=$((n + 1)); done; wait`;
  await watched.driver.start(shell(nameOf(3), bomb, parts));
  t.match((await watched.ended(nameOf(3))).end, { kind: 'exited', exitCode: 2 }, 'a process too many is refused');

  const work = `i=0; while [ $i -lt 30000 ]; do i=$((i + 1)); done; head -c 20M /dev/zero | tail -c 20M >/dev/null`;
  await watched.driver.start(shell(nameOf(4), work, parts));
  await watched.ended(nameOf(4));
  const ended = watched.events.find((event) => event.kind === 'ended' && event.allocationId === nameOf(4));
  const { cpuMs = 0, peakMemoryBytes = 0 } = (ended?.kind === 'ended' && ended.usage) || {};
  t.ok(cpuMs > 10 && peakMemoryBytes > 20e6 && peakMemoryBytes < 64e6, `${cpuMs} ms, ${peakMemoryBytes} bytes`);
  t.comment(readFileSync('/proc/version', 'utf8').trim());
});
