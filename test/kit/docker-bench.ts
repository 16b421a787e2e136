import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Test } from 'tap';
import { containerName } from '../../agent/driver/docker/container-options.js';
import { type DockerDriverOptions, dockerDriver } from '../../agent/driver/docker/docker-driver.js';
import { openEngine } from '../../agent/driver/docker/engine.js';
import { systemClock } from '../../shared/clock.js';
import type { AllocationId } from '../../shared/ids.js';
import { silentLog } from '../../shared/log.js';
import { systemRandom } from '../../shared/random.js';
import type { StartOrder } from '../../shared/wire/messages.js';
import type { Behaviour, DriverBench } from '../conformance/task-driver.js';
import type { DockerDaemon } from './docker.js';
import { temporaryFolder } from './temporary-folder.js';
import { anOrder } from './wire-samples.js';

export interface DockerBench extends DriverBench {
  shell(id: AllocationId, script: string, parts?: Partial<StartOrder>): StartOrder;
}

/** A node with a driver for the daemon; each bench has a directory, and so containers, of its own. */
export function dockerBench(t: Test, daemon: DockerDaemon, options: Partial<DockerDriverOptions> = {}): DockerBench {
  const directory = temporaryFolder(t);
  const shell = (allocationId: AllocationId, script: string, parts: Partial<StartOrder> = {}): StartOrder =>
    anOrder({
      allocationId,
      driver: 'docker',
      image: 'busybox:local',
      run: { kind: 'command', argv: ['sh', '-c', script] },
      resources: { cpuMillis: 1_000, memoryMiB: 64, diskMiB: 0 },
      ...{ env: {}, workdir: null, gpus: [], timeLimitMs: null },
      ...parts,
    });
  return {
    differs: { signalsAreStatuses: true, workdirIsMade: true },
    factory: async (listener) => {
      const make = dockerDriver({
        ...{ directory, bootId: 'boot-1', clock: systemClock, random: systemRandom, log: silentLog },
        docker: await openEngine(daemon.socketPath),
        task: { nodeName: 'n1', env: {}, hasGpus: () => false },
        policy: { network: 'none', allow: [] },
        imageHighWaterPercent: 100,
        credentials: () => undefined,
        ...options,
      });
      return make(listener);
    },
    shell,
    order: (id, behaviour) => shell(id, scriptOf(behaviour), { workdir: behaviour.workdir ?? null }),
    startCount: (id) => startCount(daemon, directory, id),
    outputByte: () => 'x'.charCodeAt(0),
  };
}

function scriptOf({ runMs, exit, outputBytes, ignoresTerm }: Behaviour): string {
  const lines = ignoresTerm ? ["trap '' TERM"] : [];
  lines.push(': >/tmp/begun');
  if (outputBytes) lines.push(`head -c ${outputBytes} /dev/zero | tr '\\0' x`);
  if (runMs) lines.push(`sleep ${runMs / 1_000}`);
  lines.push(typeof exit === 'string' ? `kill -${exit.slice(3)} $$` : `exit ${exit ?? 0}`);
  return lines.join('\n');
}

/** Starts that the daemon tells of; one that still runs counts once its command has got somewhere. */
function startCount(daemon: DockerDaemon, directory: string, id: AllocationId): number {
  const name = containerName(readFileSync(join(directory, 'owner'), 'utf8'), id);
  const starts = daemon.starts().filter((started) => started === name).length;
  const running = daemon.docker('ps', '-q', '--filter', `name=${name}`).trim();
  return running === '' || hasBegun(daemon, running) ? starts : starts - 1;
}

function hasBegun(daemon: DockerDaemon, container: string): boolean {
  const upper = daemon.docker('inspect', '--format', '{{.GraphDriver.Data.UpperDir}}', container).trim();
  return existsSync(join(upper, 'tmp', 'begun'));
}
