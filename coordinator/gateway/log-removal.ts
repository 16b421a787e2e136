import { opendir, rm, rmdir } from 'node:fs/promises';
import { join } from 'node:path';
import type { JobId } from '../../shared/ids.js';
import { ifPresent } from './disk.js';
import { jobFolder } from './log-paths.js';

/** Files removed at a time: a job of a million tasks has two million. */
const MAX_REMOVED = 1_000;

/** Removes a part of what the tasks of a job wrote, the folder last. True while some of it remains. Idempotent. */
export async function removeJobOutput(stateDir: string, jobId: JobId): Promise<boolean> {
  const folder = jobFolder(stateDir, jobId);
  const entries = await ifPresent(() => opendir(folder));
  if (!entries) return false;
  const names: string[] = [];
  for await (const { name } of entries) {
    names.push(name);
    if (names.length === MAX_REMOVED) break;
  }
  for (const name of names) await rm(join(folder, name), { recursive: true, force: true });
  if (names.length === MAX_REMOVED) return true;
  // A last piece of output may have come meanwhile; then there is one more round.
  await ifPresent(() => rmdir(folder));
  return false;
}
