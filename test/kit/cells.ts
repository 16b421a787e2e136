import { existsSync, readdirSync, readFileSync, rmdirSync } from 'node:fs';
import { join } from 'node:path';

const TRIES = 200;
const TRY_MS = 10;

/** The control groups of the cells that a process driver has in its directory. */
export function cellGroups(directory: string): string[] {
  const cells = join(directory, 'cells');
  if (!existsSync(cells)) return [];
  return readdirSync(cells).flatMap((name) => {
    const file = join(cells, name, 'cell.json');
    // One that was used for a single task is taken away while we look.
    if (!existsSync(file)) return [];
    const { folders } = JSON.parse(readFileSync(file, 'utf8')) as { folders: string[][] };
    return folders.map(([, folder = '']) => join(folder, `berth-${name}`));
  });
}

/** Processes in any of these groups. */
export function membersOf(groups: readonly string[]): number[] {
  const lists = groups.map((group) => join(group, 'cgroup.procs')).filter((list) => existsSync(list));
  const pids = lists.flatMap((list) => readFileSync(list, 'utf8').split('\n').filter(Boolean));
  return [...new Set(pids)].map(Number);
}

/** Ends what runs in the groups, and removes them: they are no files that go with a folder. */
export async function removeGroups(groups: readonly string[]): Promise<void> {
  for (let tries = 0; tries < TRIES && groups.some((group) => existsSync(group)); tries += 1) {
    for (const pid of membersOf(groups)) quietly(() => process.kill(pid, 'SIGKILL'));
    for (const group of groups) quietly(() => rmdirSync(group));
    await new Promise((resolve) => setTimeout(resolve, TRY_MS));
  }
}

function quietly(act: () => void): void {
  try {
    act();
  } catch {
    // Gone already, or not yet empty.
  }
}
