import { chmodSync, chownSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { type Clock, sleep } from '../../../shared/clock.js';
import { AppError } from '../../../shared/errors.js';
import type { AllocationId } from '../../../shared/ids.js';
import type { StartOrder } from '../../../shared/wire/messages.js';
import type { Isolation } from '../../model/isolation.js';
import { Cgroup, type GroupLimits } from './cgroup.js';
import type { CgroupHome, Controller } from './cgroup-home.js';
import { readStat } from './process-table.js';
import type { TaskUser } from './task-user.js';

export interface CellOptions {
  readonly isolation: Exclude<Isolation, 'none'>;
  readonly home: CgroupHome;
  /** The driver's folder for cells. */
  readonly directory: string;
  readonly clock: Clock;
}

export interface CellName {
  readonly name: string;
  /** The cores of its one attempt; undefined for any, and for one attempt after another. */
  readonly cores?: string | undefined;
}

const KILL_ROUNDS = 200;
const FIRST_ROUND_MS = 1;
const LAST_ROUND_MS = 50;
/** The worker and the process that stands for its namespaces. */
const OWN_PROCESSES = 2;
/** Resident memory of those two, which counts as the task's. */
const OWN_MEMORY_MIB = 4;
/** Where a task finds what lies in `tmp` of its cell. */
const TMP = '/tmp';
/** A cell has these of its own; the machine's are put by for its worker (inside.sh). */
const SHARED_MEMORY = '/dev/shm/';
const OUTER_TMP = '/tmp/';
const HELD_TMP = '/proc/self/fd/8/';

/** Where a task of a cell with files sees the working directory that `prepare` makes. */
export function workdirInCell(id: AllocationId): string {
  return join(TMP, id);
}

/**
 * Where the attempts of one worker run, one after another: control groups that hold all of their processes, and with
 * full isolation a folder that is their /tmp. A cell in which an attempt left anything is not used again.
 */
export class Cell {
  readonly group: Cgroup;
  readonly #options: CellOptions;
  readonly #name: string;
  readonly #folder: string;
  /** An empty working directory that the next attempt can have, and whose it is. */
  #spare: { readonly path: string; readonly uid: number } | undefined;
  #innerPid: number | undefined;
  /** Something of an attempt may be left, or it keeps to cores that were one attempt's. */
  #isSpoilt = false;
  #deletion: Promise<void> | undefined;
  #isDeleted = false;

  private constructor(options: CellOptions, name: string) {
    this.#options = options;
    this.#name = name;
    this.#folder = join(options.directory, name);
    this.group = new Cgroup(options.home, `berth-${name}`);
  }

  /** Throws `task-start-failed`. */
  static make(given: CellOptions, { name, cores }: CellName): Cell {
    const home = cores === undefined ? withoutCores(given.home) : given.home;
    const options = { ...given, home };
    const { isolation } = options;
    const cell = new Cell(options, name);
    cell.#isSpoilt = cores !== undefined;
    try {
      mkdirSync(cell.tmp, { recursive: true });
      mkdirSync(join(cell.#folder, 'shm'), { recursive: true });
      writeFileSync(cell.#record, JSON.stringify({ isolation, version: home.version, folders: [...home.folders] }));
      cell.group.make();
      if (cores !== undefined) cell.group.pin(cores);
      chmodSync(cell.tmp, 0o1777);
    } catch (cause) {
      cell.remove();
      throw new AppError('task-start-failed', `no cell could be made: ${(cause as Error).message}`, { cause });
    }
    return cell;
  }

  /** The one of a worker that an earlier process started; null when it had none. */
  static adopt(directory: string, name: string, clock: Clock): Cell | null {
    try {
      const text = readFileSync(join(directory, name, RECORD), 'utf8');
      const { isolation, version, folders } = JSON.parse(text) as CellRecord;
      return new Cell({ isolation, home: { version, folders: new Map(folders) }, directory, clock }, name);
    } catch {
      return null;
    }
  }

  /** What the worker of this cell is started with, behind its name. */
  launchArguments(worker: string): string[] {
    const procs = this.group.folders.map((folder) => join(folder, 'cgroup.procs'));
    return [worker, this.#isFull ? 'own' : 'shared', ...procs];
  }

  /** Throws when a limit is refused. */
  begin(limits: GroupLimits): void {
    const { memoryMiB, maxProcesses } = limits;
    const own = { memoryMiB: memoryMiB + OWN_MEMORY_MIB, maxProcesses: maxProcesses + OWN_PROCESSES };
    this.group.begin({ ...limits, ...own });
  }

  /** Whether a task's own files are in this cell, and not in the places of all. */
  get hasFiles(): boolean {
    return this.#isFull;
  }

  /** What a task of a cell with files has as /tmp, as this process sees it. */
  get tmp(): string {
    return join(this.#folder, 'tmp');
  }

  /** Where a task sees its script. */
  scriptOf(id: AllocationId): string {
    return `${join(TMP, id)}.sh`;
  }

  /** The path by which the worker, in the driver's directory, finds what this process has at `path`. */
  seenByWorker(path: string): string {
    if (path.startsWith(OUTER_TMP)) return HELD_TMP + path.slice(OUTER_TMP.length);
    return path.startsWith(SHARED_MEMORY) ? join('cells', this.#name, 'shm', path.slice(SHARED_MEMORY.length)) : path;
  }

  /** The same as this process sees it. */
  outsideOf(path: string): string {
    return join(this.tmp, path.slice(TMP.length));
  }

  prepare(order: StartOrder, { uid, gid }: TaskUser): void {
    const id = order.allocationId;
    const folder = this.outsideOf(workdirInCell(id));
    const spare = this.#spare;
    this.#spare = undefined;
    if (spare) renameSync(spare.path, folder);
    else mkdirSync(folder, { recursive: true, mode: 0o700 });
    if (spare?.uid !== uid) chownSync(folder, uid, gid);
    this.#spare = { path: folder, uid };
    if (order.run.kind === 'script') {
      const script = this.outsideOf(this.scriptOf(id));
      writeFileSync(script, order.run.script, { mode: 0o700 });
      chownSync(script, uid, gid);
    }
  }

  /** Sends a signal to every process of the attempt; returns how many there were. */
  signal(workerPid: number, signal: string): number {
    const members = this.#membersBeside(workerPid);
    for (const pid of members) send(pid, signal);
    return members.length;
  }

  /** Kills every process of the attempt. Errors: `internal` when one survives it. */
  async clear(workerPid: number): Promise<void> {
    for (let round = 1; round <= KILL_ROUNDS; round += 1) {
      if (this.signal(workerPid, 'SIGKILL') === 0) return;
      this.#isSpoilt = true;
      if (round === 1) this.group.stopForks();
      await sleep(this.#options.clock, Math.min(LAST_ROUND_MS, FIRST_ROUND_MS * round));
    }
    throw new AppError('internal', `processes in ${this.group.folders[0]} survive SIGKILL: they hang in the kernel`);
  }

  /** Something of an attempt is left in its namespaces. */
  spoil(): void {
    this.#isSpoilt = true;
  }

  /** Whether the next attempt would find nothing of the last one; null: there was none. */
  isClean(id: AllocationId | null): boolean {
    if (this.#isSpoilt) return false;
    if (!this.#isFull || id === null) return true;
    rmSync(this.outsideOf(this.scriptOf(id)), { force: true });
    const names = readdirSync(this.tmp);
    return names.length === 1 && names[0] === id && readdirSync(join(this.tmp, id)).length === 0;
  }

  /** Deletes the files of an attempt, unless the next one has its directory. */
  async removeFiles(id: AllocationId): Promise<void> {
    if (!this.#isFull) return;
    const folder = this.outsideOf(workdirInCell(id));
    if (this.#spare?.path === folder && !this.#isSpoilt && isEmpty(folder)) return;
    await rm(folder, { recursive: true, force: true });
  }

  /** Its worker is gone. False while something of it cannot be deleted yet. Idempotent. */
  remove(): boolean {
    for (const pid of this.group.members()) send(pid, 'SIGKILL');
    if (!this.group.remove()) return false;
    // What a task left in its /tmp may take long to delete; asked again, this tells whether it is done.
    this.#deletion ??= rm(this.#folder, { recursive: true, force: true }).then(
      () => {
        this.#isDeleted = true;
      },
      () => {
        this.#deletion = undefined;
      },
    );
    return this.#isDeleted;
  }

  get #isFull(): boolean {
    return this.#options.isolation === 'full';
  }

  get #record(): string {
    return join(this.#folder, RECORD);
  }

  #membersBeside(workerPid: number): number[] {
    const members = this.group.members().filter((pid) => pid !== workerPid && pid !== this.#innerPid);
    if (!this.#isFull || this.#innerPid !== undefined) return members;
    // In namespaces of its own the worker is the one child of the process that stands for it.
    this.#innerPid = members.find((pid) => readStat(pid)?.parent === workerPid);
    return members.filter((pid) => pid !== this.#innerPid);
  }
}

const RECORD = 'cell.json';

interface CellRecord {
  readonly isolation: CellOptions['isolation'];
  readonly version: CgroupHome['version'];
  readonly folders: readonly (readonly [Controller, string])[];
}

/** A group that says no cores is one less to make. */
function withoutCores({ version, folders }: CgroupHome): CgroupHome {
  return { version, folders: new Map([...folders].filter(([controller]) => controller !== 'cpuset')) };
}

function isEmpty(folder: string): boolean {
  try {
    return readdirSync(folder).length === 0;
  } catch {
    return false;
  }
}

function send(pid: number, signal: string): void {
  try {
    process.kill(pid, signal);
  } catch {
    // It has ended; the next round sees.
  }
}
