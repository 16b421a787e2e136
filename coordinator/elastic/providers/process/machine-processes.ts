import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

/** The processes of one machine, as the kernel tells of them. */
export interface MachineProcesses {
  readonly pids: readonly number[];
  /** Undefined when the agent, which stands for the machine, is not running. */
  readonly agent: { readonly pid: number; readonly isStopped: boolean } | undefined;
}

/** A machine's agent has this folder as its state directory. */
export function agentFolder(machine: string): string {
  return join(machine, 'agent');
}

/** In the environment of the agent and, by it, of every task: tells whose a process is. */
export function temporaryFolderOf(machine: string): string {
  return join(machine, 'tmp');
}

/**
 * Every living process of the machine in this folder: it has the machine's temporary folder in its environment, or
 * descends from one that does. A working directory proves nothing: an operator may look around in there.
 *
 * Asked of the kernel each time, so that nothing has to be remembered: neither a restart of the coordinator nor a pid
 * given to another process deceives it. Cost: three reads of /proc a process.
 */
export function findProcesses(machine: string): MachineProcesses {
  const table = new Map(readTable().map((entry) => [entry.pid, entry]));
  const members = new Set<number>();
  // Parents are older than their children, and mostly have smaller numbers: few rounds.
  for (let count = -1; count !== members.size; ) {
    count = members.size;
    for (const entry of table.values()) {
      if (members.has(entry.parent) || (count === 0 && isMember(entry.pid, machine))) members.add(entry.pid);
    }
  }
  const agentPid = [...members].find((pid) => isAgent(pid, machine));
  const state = agentPid === undefined ? undefined : table.get(agentPid)?.state;
  return {
    pids: [...members],
    agent: agentPid === undefined ? undefined : { pid: agentPid, isStopped: state === 'T' },
  };
}

/** Sends the signal to all of them; those that are gone by now are no error. */
export function signalProcesses({ pids }: MachineProcesses, signal: 'SIGSTOP' | 'SIGCONT' | 'SIGKILL'): void {
  for (const pid of pids) {
    try {
      process.kill(pid, signal);
    } catch {
      // It ended since.
    }
  }
}

interface Entry {
  readonly pid: number;
  readonly parent: number;
  /** One letter: T when it is stopped. */
  readonly state: string;
}

function readTable(): Entry[] {
  return readdirSync('/proc').flatMap((name) => {
    const stat = /^\d+$/.test(name) ? readText(`/proc/${name}/stat`) : '';
    // The name is in parentheses and may hold anything, parentheses too.
    const [state = 'X', parent] = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    const isDead = state === 'Z' || state === 'X' || parent === undefined;
    return isDead ? [] : [{ pid: Number(name), parent: Number(parent), state }];
  });
}

function isMember(pid: number, machine: string): boolean {
  const environment = `\0${readText(`/proc/${pid}/environ`)}`;
  return environment.includes(`\0TMPDIR=${temporaryFolderOf(machine)}\0`);
}

function isAgent(pid: number, machine: string): boolean {
  return readText(`/proc/${pid}/cmdline`).includes(`\0agent\0--state-dir\0${agentFolder(machine)}\0`);
}

/** Empty for what is gone or another user's: neither is ours. */
function readText(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return '';
  }
}
