import type { MachineState } from '../../provider.js';
import { type Json, textOf } from '../json-cloud.js';

const STATUSES: Readonly<Record<string, MachineState | undefined>> = {
  BUILD: 'starting',
  // It will never join; who waits for it ends it.
  ERROR: 'starting',
  SUSPENDED: 'suspended',
  PAUSED: 'suspended',
  SHELVED: 'suspended',
  SHELVED_OFFLOADED: 'suspended',
  SHUTOFF: 'suspended',
  DELETED: undefined,
  SOFT_DELETED: undefined,
};

const TASKS: readonly (readonly [RegExp, MachineState])[] = [
  [/deleting/, 'terminating'],
  [/unshelving|resuming|unpausing|powering-on|rebuild|spawning/, 'starting'],
  [/shelving|suspending|pausing|powering-off/, 'suspending'],
];

/** What is being done to it at the moment. */
export function taskOf(server: Json): string | undefined {
  return textOf(server, 'OS-EXT-STS:task_state');
}

/** Undefined when it is gone. What is being done to it counts more than what it was. */
export function stateOf(server: Json): MachineState | undefined {
  const status = String(server.status);
  const task = taskOf(server) ?? '';
  // Removing the shelved one from its host: nothing is given back yet that would have to be waited for.
  if (task === 'shelving_offloading' && status === 'SHELVED') return 'suspended';
  const busy = TASKS.find(([pattern]) => pattern.test(task))?.[1];
  if (busy !== undefined) return busy;
  return status in STATUSES ? STATUSES[status] : 'running';
}

/** How a server that rests is woken, by what it rests as. */
const WAKING: Readonly<Record<string, string>> = {
  SUSPENDED: 'resume',
  PAUSED: 'unpause',
  SHELVED: 'unshelve',
  SHELVED_OFFLOADED: 'unshelve',
  SHUTOFF: 'os-start',
};

export function wakingVerbOf(server: Json): string {
  return WAKING[String(server.status)] ?? 'resume';
}
