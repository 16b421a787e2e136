import { chmodSync, mkdirSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import type { Test } from 'tap';
import type { PreparedOrder } from '../../agent/driver/driver.js';
import { type IsolationPlan, NO_ISOLATION } from '../../agent/driver/process/isolation.js';
import { processDriver } from '../../agent/driver/process/process-driver.js';
import type { SecretFolder } from '../../agent/driver/secret-folder.js';
import { systemClock } from '../../shared/clock.js';
import type { AllocationId } from '../../shared/ids.js';
import { silentLog } from '../../shared/log.js';
import { systemRandom } from '../../shared/random.js';
import type { Behaviour, DriverBench } from '../conformance/task-driver.js';
import { temporaryFolder } from './temporary-folder.js';
import { anOrder } from './wire-samples.js';

export interface BenchOptions {
  readonly bootId?: () => string;
  readonly isolation?: IsolationPlan;
  readonly folder?: string;
  readonly secrets?: SecretFolder;
}

export interface ProcessBench extends DriverBench {
  readonly folder: string;
  shell(id: AllocationId, script: string, parts?: Partial<PreparedOrder>): PreparedOrder;
}

/** A folder, and the process driver in it. */
export function processBench(t: Test, { bootId = () => 'boot-1', ...given }: BenchOptions = {}): ProcessBench {
  const folder = given.folder ?? temporaryFolder(t);
  const witness = join(folder, 'witness');
  mkdirSync(witness);
  // Tasks may have another user.
  chmodSync(witness, 0o777);
  const task = { nodeName: 'n1', env: { PATH: '/usr/bin:/bin', HOME: '/root' }, hasGpus: () => true };
  const plan = given.isolation ?? NO_ISOLATION;
  const base = { clock: systemClock, random: systemRandom, log: silentLog };
  const options = {
    ...base,
    directory: join(folder, 'state'),
    task,
    isolation: async () => plan,
    secrets: given.secrets,
  };
  const shell = (id: AllocationId, script: string, parts: Partial<PreparedOrder> = {}): PreparedOrder =>
    plain(id, { run: { kind: 'command', argv: ['sh', '-c', script] }, ...parts });
  return {
    folder,
    factory: (listener) => processDriver({ ...options, bootId: bootId() })(listener),
    startCount: (id) => readdirSync(witness).filter((name) => name.startsWith(`${id}.`)).length,
    outputByte: () => 'x'.charCodeAt(0),
    shell,
    order: (id, behaviour) =>
      shell(id, scriptOf(`${witness}/${id}`, behaviour), { workdir: behaviour.workdir ?? null }),
  };
}

/** Every start leaves a file of its own. */
function scriptOf(witness: string, { runMs, exit, outputBytes, ignoresTerm }: Behaviour): string {
  const lines = ignoresTerm ? ["trap '' TERM"] : [];
  lines.push(`: > '${witness}'.$$`);
  if (outputBytes) lines.push(`head -c ${outputBytes} /dev/zero | tr '\\0' x`);
  if (runMs) lines.push(`sleep ${runMs / 1_000}`);
  lines.push(typeof exit === 'string' ? `kill -${exit.slice(3)} $$` : `exit ${exit ?? 0}`);
  return lines.join('\n');
}

export function plain(allocationId: AllocationId, parts: Partial<PreparedOrder>): PreparedOrder {
  const base = { allocationId, env: {}, workdir: null, gpus: [], timeLimitMs: null };
  return anOrder({ ...base, ...parts });
}
