import { userInfo } from 'node:os';
import { dirname, relative } from 'node:path';
import type { Clock } from '../../../shared/clock.js';
import type { StartOrder } from '../../../shared/wire/messages.js';
import type { SecretPlaces } from '../secret-folder.js';
import type { TaskBase } from '../task-environment.js';
import { Cell, type CellName } from './cell.js';
import type { Allotment } from './cores.js';
import { type FullIsolation, type IsolationPlan, privilegeDrop } from './isolation.js';
import { findProgram, type OrderPlaces, orderScript, type Pinning } from './order-script.js';
import type { Places } from './places.js';
import type { TaskUser } from './task-user.js';
import { WORKER_PATH, type Worker } from './worker.js';

export interface PrepareOptions {
  readonly task: TaskBase;
  readonly isolation: IsolationPlan;
  readonly clock: Clock;
}

export interface PrepareParts extends PrepareOptions {
  readonly secrets: SecretPlaces;
  /** The attempt's own cores; undefined for any. */
  readonly pinning?: Pinning | undefined;
}

/** Where the attempts of a new worker run; null when they are not kept apart. */
export function makeCell(places: Places, name: CellName, { isolation, clock }: PrepareOptions): Cell | null {
  if (isolation.kind === 'none') return null;
  const { kind, home } = isolation;
  return Cell.make({ isolation: kind, home, directory: places.folder('cells'), clock }, name);
}

/** Whether cells can keep their attempts to cores; otherwise a program in front of the command does. */
export function canPinCells(isolation: IsolationPlan): boolean {
  return isolation.kind !== 'none' && isolation.home.folders.has('cpuset');
}

/** How an attempt of this node is kept to its cores; undefined when it has none, and where nothing can. */
export function pinningOf(cores: Allotment, isolation: IsolationPlan): Pinning | undefined {
  if (cores.kind !== 'own') return undefined;
  const { list } = cores;
  if (canPinCells(isolation)) return { list, argv: [] };
  const taskset = findProgram('taskset', WORKER_PATH);
  return taskset === undefined ? undefined : { list, argv: [taskset, '-c', list] };
}

/** Why this node does not give an attempt cores of its own; undefined when it does, or need not. */
export function refusedCores(cores: Allotment, pinning: Pinning | undefined): string | undefined {
  if (cores.kind === 'refused') return cores.message;
  if (cores.kind === 'any' || pinning !== undefined) return undefined;
  return 'this node cannot pin a task to cores: it has neither control groups with a cpuset nor the program taskset';
}

/** Makes ready what an attempt finds when it starts; returns its order to the worker. Throws what the system throws. */
export function prepare(places: Places, order: StartOrder, worker: Worker, parts: PrepareParts): string {
  const { isolation, task, secrets, pinning } = parts;
  const { cell } = worker.ledger;
  const id = order.allocationId;
  const ledger = `/proc/self/fd/9/ledger/${worker.name}`;
  places.prepareOutput(id);
  if (cell && isolation.kind !== 'none') cell.begin({ ...order.resources, maxProcesses: isolation.maxProcesses });
  if (cell && isolation.kind === 'full') {
    const user = userOf(order, isolation);
    cell.prepare(order, user);
    const home = cell.workdirOf(id);
    const drop = privilegeDrop(isolation, user, home);
    const secretsBind = bindOf(secrets, cell, { target: `${home}.secrets`, owner: `${user.uid}:${user.gid}` });
    const base = { marker: home, script: cell.scriptOf(id), ledger, drop, secrets, pinning, ...secretsBind };
    const { workdir } = order;
    const staged = order.env.BERTH_WORKSPACE;
    if (staged === undefined) {
      const workspace = workdir === null ? home : undefined;
      return orderScript(order, task, { ...base, workdir: workdir ?? home, workspace });
    }
    // The agent's own folder is nobody else's to enter.
    const bind = { source: relative(places.root, staged), target: home, owner: `${user.uid}:${user.gid}` };
    const seen = workdir === staged ? home : (workdir ?? home);
    return orderScript(order, task, { ...base, workdir: seen, bind, workspace: home });
  }
  places.prepareFiles(order);
  const work = places.work(id);
  const script = places.script(id);
  const workspace = order.workdir === null ? work : order.env.BERTH_WORKSPACE;
  const base = { marker: work, script, ledger, secrets, pinning, workspace };
  return orderScript(order, task, { ...base, workdir: order.workdir ?? work });
}

/** Secrets lie together in one folder, which is nobody else's to enter. */
function bindOf(
  { directory, envFile }: SecretPlaces,
  cell: Cell,
  place: { readonly target: string; readonly owner: string },
): Pick<OrderPlaces, 'secretsBind'> {
  const one = directory ?? envFile;
  return one === null ? {} : { secretsBind: { ...place, source: cell.seenByWorker(dirname(one)) } };
}

/** Why this node does not run a task as the user that it asks for; undefined when it does. */
export function refusedUser({ user }: StartOrder, isolation: IsolationPlan): string | undefined {
  if (user === undefined) return undefined;
  if (isolation.kind === 'full') {
    if (isolation.users.has(user)) return undefined;
    return `this node does not run tasks as "${user}"; its agent would need --allow-user ${user}`;
  }
  if (user === userInfo().username) return undefined;
  return `this node runs all tasks as "${userInfo().username}"; another user takes an agent with full isolation`;
}

function userOf({ user }: StartOrder, isolation: FullIsolation): TaskUser {
  return (user === undefined ? undefined : isolation.users.get(user)) ?? isolation.user;
}
