import { statSync } from 'node:fs';
import type { Clock } from '../../../shared/clock.js';

const ANY_EXECUTE = 0o111;
/** How long what was found is taken to be there: one array starts thousands of tasks with one program. */
const FOUND_LIFE_MS = 1_000;
/** Commands of one look-up each; when there are more, all are forgotten. */
const MAX_FOUND = 256;

interface Found {
  readonly file: string | undefined;
  readonly until: number;
}

/** Finds the files that names of programs mean. */
export class Programs {
  readonly #clock: Clock;
  readonly #found = new Map<string, Found>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Undefined when there is none, or when it takes a shell to tell. */
  find(name: string, path: string): string | undefined {
    if (name.includes('/')) return name;
    const key = `${name}:${path}`;
    const now = this.#clock.monotonic();
    const known = this.#found.get(key);
    if (known !== undefined && now < known.until) return known.file;
    if (this.#found.size >= MAX_FOUND) this.#found.clear();
    const file = findIn(name, path);
    this.#found.set(key, { file, until: now + FOUND_LIFE_MS });
    return file;
  }
}

function findIn(name: string, path: string): string | undefined {
  for (const folder of path.split(':')) {
    if (!folder.startsWith('/')) return undefined;
    const file = `${folder}/${name}`;
    const found = statSync(file, { throwIfNoEntry: false });
    if (found?.isFile() && (found.mode & ANY_EXECUTE) !== 0) return file;
  }
  return undefined;
}
