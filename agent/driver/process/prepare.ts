import { realpathSync } from 'node:fs';
import { userInfo } from 'node:os';
import { dirname } from 'node:path';
import type { Clock } from '../../../shared/clock.js';
import type { StartOrder } from '../../../shared/wire/messages.js';
import type { PreparedOrder } from '../driver.js';
import type { SecretPlaces } from '../secret-folder.js';
import type { TaskBase } from '../task-environment.js';
import { Cell, type CellName, workdirInCell } from './cell.js';
import type { Allotment } from './cores.js';
import { type FullIsolation, type IsolationPlan, privilegeDrop } from './isolation.js';
import { type OrderPlaces, orderScript, type Pinning } from './order-script.js';
import type { Places } from './places.js';
import type { Programs } from './programs.js';
import type { TaskUser } from './task-user.js';
import { WORKER_PATH, type Worker } from './worker.js';

export interface PrepareOptions {
  readonly task: TaskBase;
  readonly isolation: IsolationPlan;
  readonly clock: Clock;
}

export interface PrepareParts extends PrepareOptions {
  readonly secrets: SecretPlaces;
  readonly programs: Programs;
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
export function pinningOf(cores: Allotment, isolation: IsolationPlan, programs: Programs): Pinning | undefined {
  if (cores.kind !== 'own') return undefined;
  const { list } = cores;
  if (canPinCells(isolation)) return { list, argv: [] };
  const taskset = programs.find('taskset', WORKER_PATH);
  return taskset === undefined ? undefined : { list, argv: [taskset, '-c', list] };
}

/** Why this node does not give an attempt cores of its own; undefined when it does, or need not. */
export function refusedCores(cores: Allotment, pinning: Pinning | undefined): string | undefined {
  if (cores.kind === 'refused') return cores.message;
  if (cores.kind === 'any' || pinning !== undefined) return undefined;
  return 'this node cannot pin a task to cores: it has neither control groups with a cpuset nor the program taskset';
}

/** Makes ready what an attempt finds when it starts; returns its order to the worker. Throws what the system throws. */
export function prepare(places: Places, order: PreparedOrder, worker: Worker, parts: PrepareParts): string {
  const { isolation, task, secrets, programs, pinning } = parts;
  const { cell } = worker.ledger;
  const id = order.allocationId;
  const ledger = `/proc/self/fd/9/ledger/${worker.name}`;
  if (cell && isolation.kind !== 'none') cell.begin({ ...order.resources, maxProcesses: isolation.maxProcesses });
  if (cell && isolation.kind === 'full') {
    const user = userOf(order, isolation);
    const owner = `${user.uid}:${user.gid}`;
    cell.prepare(order, user);
    const home = workdirInCell(id);
    const drop = privilegeDrop(isolation, user, home);
    const binds = { ...secretsBindOf(secrets, cell, `${home}.secrets`), ...mountsOf(order, cell, user) };
    const base = { marker: home, script: cell.scriptOf(id), ledger, drop, owner, secrets, programs, pinning, ...binds };
    const { workdir } = order;
    const workspace = workdir === null || binds.bind !== undefined ? home : undefined;
    return orderScript(order, task, { ...base, workdir: workdir ?? home, workspace });
  }
  const { current } = worker.ledger;
  if (order.workdir === null) current.prepareFolder();
  places.writeScript(order);
  const work = current.folder;
  const script = places.script(id);
  const workspace = order.workdir === null ? work : order.env.BERTH_WORKSPACE;
  const base = { marker: places.work(id), script, ledger, secrets, programs, pinning, workspace };
  return orderScript(order, task, { ...base, workdir: order.workdir ?? work });
}

/** Secrets lie together in one folder, which is nobody else's to enter. */
function secretsBindOf(
  { directory, envFile }: SecretPlaces,
  cell: Cell,
  target: string,
): Pick<OrderPlaces, 'secretsBind'> {
  const one = directory ?? envFile;
  return one === null ? {} : { secretsBind: { target, source: cell.seenByWorker(dirname(one)) } };
}

/** Whether an attempt's cell has anything mounted that the next one's must not have. */
export function hasVolumes({ allocationId, mounts = [] }: PreparedOrder): boolean {
  return mounts.some((mount) => mount.kind === 'memory' || mount.target !== workdirInCell(allocationId));
}

/** The workspace, since the agent's own folder is nobody else's to enter; and volumes, in a cell of their own. */
function mountsOf(
  { allocationId, mounts = [] }: PreparedOrder,
  cell: Cell,
  user: TaskUser,
): Pick<OrderPlaces, 'bind' | 'volumes'> {
  const home = workdirInCell(allocationId);
  const volumes: string[] = [];
  let bind: OrderPlaces['bind'];
  for (const mount of mounts) {
    if (mount.kind === 'memory') {
      const options = `size=${mount.sizeMiB}m,mode=0700,uid=${user.uid},gid=${user.gid},nosuid,nodev`;
      volumes.push(mount.kind, '', '', options, mount.target);
    } else if (mount.target === home) {
      bind = { source: cell.seenByWorker(realpathSync(mount.source)), target: home };
    } else {
      const { source, identity = '', target, readOnly } = mount;
      volumes.push(mount.kind, cell.seenByWorker(source), identity, readOnly ? 'ro' : 'rw', target);
    }
  }
  if (volumes.length > 0) cell.spoil();
  return { ...(bind ? { bind } : {}), ...(volumes.length > 0 ? { volumes: [`${home}.volumes`, ...volumes] } : {}) };
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
