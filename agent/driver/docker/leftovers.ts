import { readdirSync, readFileSync } from 'node:fs';

/** What forks while it is being killed is met again. */
const MAX_ROUNDS = 5;

/**
 * Kills what runs as a container of which the daemon says that it never started: one that was killed while it started the
 * container does not know of it when it is back, and would leave the command running, unseen, when the container is
 * removed. It is known by its control group, which has the container's id in its name. Does what this process may do: not
 * much unless it is root, and on the daemon's machine. Returns how many processes it was.
 */
export function killLeftovers(containerId: string): number {
  const killed = new Set<number>();
  for (let round = 0; round < MAX_ROUNDS; round += 1) {
    const found = processesOf(containerId).filter((pid) => kill(pid));
    if (found.length === 0) break;
    for (const pid of found) killed.add(pid);
  }
  return killed.size;
}

function processesOf(containerId: string): number[] {
  return readdirSync('/proc')
    .map(Number)
    .filter((pid) => Number.isInteger(pid) && groupsOf(pid).includes(containerId));
}

function groupsOf(pid: number): string {
  try {
    return readFileSync(`/proc/${pid}/cgroup`, 'utf8');
  } catch {
    return '';
  }
}

function kill(pid: number): boolean {
  try {
    return process.kill(pid, 'SIGKILL');
  } catch {
    return false;
  }
}
