import { readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { AllocationId } from '../../../shared/ids.js';
import { eachIndex, parseRanges } from '../../../shared/ranges.js';
import type { StartOrder } from '../../../shared/wire/messages.js';

/** What an attempt may have of the machine's cores. */
export type Allotment =
  | { readonly kind: 'any' }
  /** As the kernel lists them: `2,3`. */
  | { readonly kind: 'own'; readonly list: string }
  | { readonly kind: 'refused'; readonly message: string };

const ANY: Allotment = { kind: 'any' };
const MAX_CORES = 65_536;

/**
 * Which cores are whose among the attempts that asked for their own; all others run wherever the kernel puts them.
 *
 * A file an attempt, written before anything of it starts, keeps the cores while the agent is away.
 */
export class Cores {
  readonly #folder: string;
  readonly #usable: () => readonly number[];
  readonly #held = new Map<AllocationId, readonly number[]>();

  /** @param usable  asked at each allotment: a machine may gain and lose cores */
  constructor(folder: string, usable = coresOfThisProcess) {
    this.#folder = folder;
    this.#usable = usable;
    for (const name of readdirSync(folder)) {
      this.#held.set(name as AllocationId, coresIn(readFileSync(join(folder, name), 'utf8')));
    }
  }

  /** The lowest cores that are nobody's. Throws what the file system throws; then nothing is held. */
  allot({ allocationId, pinCpus, resources }: StartOrder): Allotment {
    if (pinCpus === undefined) return ANY;
    const count = resources.cpuMillis / 1_000;
    const taken = new Set([...this.#held.values()].flat());
    const free = this.#usable().filter((core) => !taken.has(core));
    if (free.length < count) {
      const message = `it asks for ${count} cores of its own, and ${free.length} of this node's are nobody's`;
      return { kind: 'refused', message };
    }
    const cores = free.slice(0, count);
    const list = cores.join(',');
    writeFileSync(join(this.#folder, allocationId), list, { mode: 0o600 });
    this.#held.set(allocationId, cores);
    return { kind: 'own', list };
  }

  /** Nothing of the attempt is alive. Idempotent. */
  release(id: AllocationId): void {
    if (this.#held.delete(id)) rmSync(join(this.#folder, id), { force: true });
  }

  /** Releases what belongs to others: they never began, or are forgotten. */
  keepOnly(ids: ReadonlySet<AllocationId>): void {
    for (const id of [...this.#held.keys()]) if (!ids.has(id)) this.release(id);
  }
}

function coresOfThisProcess(): readonly number[] {
  const status = readFileSync('/proc/self/status', 'utf8');
  return coresIn(/^Cpus_allowed_list:\s*(\S+)$/m.exec(status)?.[1] ?? '');
}

/** What cannot be read is nobody's and everybody's. */
function coresIn(list: string): readonly number[] {
  const ranges = parseRanges(list, MAX_CORES);
  return typeof ranges === 'string' ? [] : [...eachIndex(ranges)];
}
