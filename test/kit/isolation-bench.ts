import { chmodSync, mkdtempSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import type { Test } from 'tap';
import type { IsolationPlan } from '../../agent/driver/process/isolation.js';
import type { SecretFolder } from '../../agent/driver/secret-folder.js';
import type { AllocationId } from '../../shared/ids.js';
import { Watched } from '../conformance/task-driver.js';
import { cellGroups, removeGroups } from './cells.js';
import { type ProcessBench, processBench } from './process-bench.js';

/** A folder that is not below /tmp, which is each isolated task's own, and the process driver in it. */
export function isolationBench(t: Test, isolation: IsolationPlan, secrets?: SecretFolder): ProcessBench {
  const folder = mkdtempSync('/var/tmp/berth-test-');
  chmodSync(folder, 0o755);
  t.teardown(async () => {
    await removeGroups(cellGroups(join(folder, 'state')));
    rmSync(folder, { recursive: true, force: true });
  });
  return processBench(t, { isolation, folder, ...(secrets ? { secrets } : {}) });
}

export async function isolatedDriver(
  t: Test,
  isolation: IsolationPlan,
  secrets?: SecretFolder,
): Promise<ProcessBench & { readonly watched: Watched }> {
  const own = isolationBench(t, isolation, secrets);
  const watched = await Watched.open(own.factory);
  t.teardown(() => watched.driver.close());
  await watched.driver.recover([]);
  return { ...own, watched };
}

export async function outputOf(watched: Watched, id: AllocationId): Promise<string> {
  return Buffer.from(await watched.driver.read(id, 'stdout', 0, 1_000_000)).toString();
}
