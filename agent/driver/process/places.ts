import { existsSync, mkdirSync, readdirSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { AllocationId } from '../../../shared/ids.js';
import type { LogStream, StartOrder } from '../../../shared/wire/messages.js';
import type { OutputBytes } from '../driver.js';
import { sizeOf } from '../output-file.js';

const FOLDERS = ['cells', 'cores', 'current', 'ledger', 'orders', 'output', 'scripts', 'work', 'deleted'] as const;
type Folder = (typeof FOLDERS)[number];
const DONE = Promise.resolve();

/**
 * The driver's directory, and the files of an attempt in it.
 *
 * Calls are synchronous: each is a microsecond on a local disk, a tenth of what a round through the thread pool costs,
 * and an attempt needs a few of them. Making or renaming a file costs ext4 up to 0.2 ms of CPU, which is why attempts
 * begin with files of their worker (CurrentFiles).
 */
export class Places {
  readonly root: string;
  /** Attempts that have a script; most have none, and looking for one costs as much as deleting it. */
  readonly #scripts: Set<string>;
  #deletedCount = 0;

  constructor(root: string) {
    this.root = root;
    rmSync(this.folder('deleted'), { recursive: true, force: true });
    for (const name of FOLDERS) mkdirSync(this.folder(name), { recursive: true, mode: 0o700 });
    this.#scripts = new Set(readdirSync(this.folder('scripts')));
  }

  folder(name: Folder): string {
    return join(this.root, name);
  }

  ledger(name: string): string {
    return join(this.root, 'ledger', name);
  }

  order(name: string): string {
    return join(this.root, 'orders', name);
  }

  /** Of the attempt that a worker runs. */
  current(name: string): string {
    return join(this.root, 'current', name);
  }

  output(id: AllocationId, stream: LogStream): string {
    return join(this.root, 'output', `${id}.${stream === 'stdout' ? 'out' : 'err'}`);
  }

  script(id: AllocationId): string {
    return join(this.root, 'scripts', id);
  }

  work(id: AllocationId): string {
    return join(this.root, 'work', id);
  }

  writeScript({ allocationId, run }: StartOrder): void {
    if (run.kind !== 'script') return;
    this.#scripts.add(allocationId);
    writeFileSync(this.script(allocationId), run.script, { mode: 0o700 });
  }

  hasScript(id: AllocationId): boolean {
    return this.#scripts.has(id);
  }

  outputBytes(id: AllocationId): OutputBytes {
    return { stdoutBytes: sizeOf(this.output(id, 'stdout')), stderrBytes: sizeOf(this.output(id, 'stderr')) };
  }

  /** Idempotent. The names are free at once; deleting a large tree takes until the promise resolves. */
  remove(id: AllocationId): Promise<void> {
    for (const stream of ['stdout', 'stderr'] as const) rmSync(this.output(id, stream), { force: true });
    if (this.#scripts.delete(id)) rmSync(this.script(id), { force: true });
    return this.deleteFolder(this.work(id));
  }

  /** The same for one folder. */
  deleteFolder(path: string): Promise<void> {
    if (!existsSync(path)) return DONE;
    this.#deletedCount += 1;
    const elsewhere = join(this.folder('deleted'), String(this.#deletedCount));
    renameSync(path, elsewhere);
    return rm(elsewhere, { recursive: true, force: true });
  }

  /** Attempts of which any file exists. */
  attempts(): Set<AllocationId> {
    const names = [
      ...readdirSync(this.folder('output')).map((name) => name.replace(/\.(out|err)$/, '')),
      ...readdirSync(this.folder('scripts')),
      ...readdirSync(this.folder('work')),
    ];
    return new Set(names as AllocationId[]);
  }
}
