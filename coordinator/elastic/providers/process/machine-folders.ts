import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { EpochMs } from '../../../../shared/clock.js';
import type { CreateOrder, JoinAddress } from '../../provider.js';

/** What a machine is to be, and since when: whoever opens the folder next makes it so. */
export interface Power {
  readonly want: 'on' | 'suspended' | 'off';
  /** When it has come that far; before, it is on its way. */
  readonly from: EpochMs;
}

export interface MachineRecord {
  readonly order: Omit<CreateOrder, 'join'> & { readonly join: JoinAddress };
  readonly power: Power;
  /** Its process was there once. From then on it is gone when its process is. */
  readonly hasBegun: boolean;
}

const RECORD = 'machine.json';

/** A folder a machine: its record, its token, the agent's state directory, log and temporary files. */
export class MachineFolders {
  readonly #root: string;

  constructor(root: string) {
    this.#root = root;
  }

  get root(): string {
    return this.#root;
  }

  /** The machine's name with this provider: its tag, so that the second order of a machine finds the first. */
  static refOf({ cluster, instanceId }: Pick<CreateOrder, 'cluster' | 'instanceId'>): string {
    return `${cluster}.${instanceId}`;
  }

  path(ref: string): string {
    return join(this.#root, ref);
  }

  refs(): string[] {
    return existsSync(this.#root) ? readdirSync(this.#root) : [];
  }

  /** Undefined when there is no such machine. */
  read(ref: string): MachineRecord | undefined {
    if (!isOneName(ref)) return undefined;
    try {
      return JSON.parse(readFileSync(join(this.path(ref), RECORD), 'utf8')) as MachineRecord;
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
      throw error;
    }
  }

  /** Makes the folder with all that an agent needs. The record comes last: what has none is no machine. */
  make(ref: string, order: CreateOrder, power: Power): MachineRecord {
    const folder = this.path(ref);
    rmSync(folder, { recursive: true, force: true });
    for (const part of [folder, join(folder, 'tmp')]) mkdirSync(part, { recursive: true, mode: 0o700 });
    const { token, ...address } = order.join;
    writeFileSync(join(folder, 'join.token'), `${token}\n`, { mode: 0o600 });
    if (address.ca !== null) writeFileSync(join(folder, 'ca.pem'), address.ca);
    const record = { order: { ...order, join: address }, power, hasBegun: false };
    this.write(ref, record);
    return record;
  }

  write(ref: string, record: MachineRecord): void {
    const path = join(this.path(ref), RECORD);
    writeFileSync(`${path}.new`, JSON.stringify(record), { mode: 0o600, flush: true });
    renameSync(`${path}.new`, path);
  }

  remove(ref: string): void {
    // The record first: what is left of a folder without one is nobody's.
    rmSync(join(this.path(ref), RECORD), { force: true });
    rmSync(this.path(ref), { recursive: true, force: true, maxRetries: 5, retryDelay: 20 });
  }
}

function isOneName(ref: string): boolean {
  return /^[A-Za-z0-9._-]+$/.test(ref) && ref !== '.' && ref !== '..';
}
