import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { AppError } from '../../../shared/errors.js';
import type { Isolation } from '../../model/isolation.js';
import { type CgroupHome, findCgroupHome } from './cgroup-home.js';
import type { PrivilegeDrop } from './order-script.js';
import { findUser, type TaskUser } from './task-user.js';
import { WORKER_PATH } from './worker.js';

/** How this node keeps its tasks apart, once it is known what it can. */
export type IsolationPlan =
  | { readonly kind: 'none' }
  | { readonly kind: 'cgroup'; readonly home: CgroupHome; readonly maxProcesses: number }
  | FullIsolation;

export interface FullIsolation {
  readonly kind: 'full';
  readonly home: CgroupHome;
  readonly maxProcesses: number;
  /** Whom tasks run as that name nobody, and whom they may name. */
  readonly user: TaskUser;
  readonly users: ReadonlyMap<string, TaskUser>;
  /** The program that drops privileges; found by this process, never by a task's PATH. */
  readonly setpriv: string;
}

export interface IsolationWish {
  /** Null: as far as this node can. */
  readonly isolation: Isolation | null;
  readonly userName: string;
  /** Whom jobs may ask to run as. */
  readonly allowedUsers: readonly string[];
  readonly maxProcesses: number;
}

export const NO_ISOLATION: IsolationPlan = { kind: 'none' };

const execute = promisify(execFile);
const PROBE_LIMIT_MS = 10_000;
const NAMESPACES = [
  '--no-new-privs',
  'unshare',
  '--pid',
  '--fork',
  '--kill-child',
  '--mount',
  '--propagation',
  'slave',
  '--ipc',
];

/** Throws `invalid-request` when what was asked for cannot be had here. */
export async function planIsolation(wish: IsolationWish): Promise<IsolationPlan> {
  const { isolation, maxProcesses } = wish;
  if (isolation === 'none') return NO_ISOLATION;
  const home = findCgroupHome();
  const full = home && isolation !== 'cgroup' ? await planFull(home, wish) : undefined;
  if (full) return full;
  if (isolation === 'full' || (isolation === 'cgroup' && !home)) {
    throw new AppError('invalid-request', `this node cannot isolate its tasks with "${isolation}"`, {
      hint: 'it takes root, or for "cgroup" control groups of its own (Delegate=yes); or use --isolation none',
    });
  }
  return home ? { kind: 'cgroup', home, maxProcesses } : NO_ISOLATION;
}

/** What constraints of jobs may ask for: `isolation = full`. */
export function isolationAttributes(plan: IsolationPlan): Readonly<Record<string, string>> {
  if (plan.kind === 'none') return { isolation: 'none' };
  return { isolation: plan.kind, cgroup: `v${plan.home.version}` };
}

/** How a task of this node becomes its user, who finds a home where its working directory is. */
export function privilegeDrop({ user: usual, setpriv }: FullIsolation, user: TaskUser, home: string): PrivilegeDrop {
  const groups = user === usual ? '--clear-groups' : '--init-groups';
  // By name: a number is looked for as a name in every directory that the system has, before it is taken for one.
  const ids = [`--reuid=${user.name}`, `--regid=${user.group}`, groups];
  return {
    argv: [setpriv, ...ids, '--inh-caps=-all', '--bounding-set=-all', '--'],
    variables: { HOME: home, TMPDIR: '/tmp', USER: user.name, LOGNAME: user.name },
  };
}

async function knownUser(name: string): Promise<TaskUser> {
  const user = await findUser(name);
  if (user) return user;
  throw new AppError('invalid-request', `there is no user "${name}" to run tasks as`);
}

async function planFull(home: CgroupHome, wish: IsolationWish): Promise<FullIsolation | undefined> {
  if (process.getuid?.() !== 0) return undefined;
  const { maxProcesses } = wish;
  const user = await knownUser(wish.userName);
  const allowed = await Promise.all(wish.allowedUsers.map(knownUser));
  const users = new Map([user, ...allowed].map((each) => [each.name, each]));
  try {
    const env = { PATH: WORKER_PATH };
    const probe = ['sh', '-c', 'mount -t proc proc /proc'];
    await execute('setpriv', [...NAMESPACES, ...probe], { env, timeout: PROBE_LIMIT_MS });
    const { stdout } = await execute('sh', ['-c', 'command -v setpriv'], { env, timeout: PROBE_LIMIT_MS });
    return { kind: 'full', home, maxProcesses, user, users, setpriv: stdout.trim() };
  } catch {
    return undefined;
  }
}
