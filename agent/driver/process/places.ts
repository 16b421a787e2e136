import { existsSync, lstatSync, mkdirSync, readdirSync, renameSync, rmSync, unlinkSync, writeFileSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { AllocationId } from '../../../shared/ids.js';
import type { LogStream, StartOrder } from '../../../shared/wire/messages.js';
import type { OutputBytes } from '../driver.js';
import { bytesFrom, sizeOf } from '../output-file.js';

/** Empty files and directories kept for reuse. */
const MAX_SPARES = 256;
const MAX_LINE_BYTES = 4_096;
const FOLDERS = ['cells', 'cores', 'ledger', 'orders', 'output', 'scripts', 'work', 'deleted'] as const;
type Folder = (typeof FOLDERS)[number];
const DONE = Promise.resolve();

/**
 * The driver's directory, and the files of an attempt in it.
 *
 * Calls are synchronous: each is a microsecond on a local disk, a tenth of what a round through the thread pool costs,
 * and an attempt needs a dozen of them. The exception is making a new file or directory, which costs ext4 up to 0.2 ms
 * of CPU: what an attempt left empty is renamed for the next one instead of deleted.
 */
export class Places {
  readonly root: string;
  /** They keep the names of removed attempts until they get those of others. */
  readonly #spareFiles = new Set<string>();
  readonly #spareFolders = new Set<string>();
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

  output(id: AllocationId, stream: LogStream): string {
    return join(this.root, 'output', `${id}.${stream === 'stdout' ? 'out' : 'err'}`);
  }

  script(id: AllocationId): string {
    return join(this.root, 'scripts', id);
  }

  work(id: AllocationId): string {
    return join(this.root, 'work', id);
  }

  /** Where an attempt's output goes; what an earlier try left is used again. */
  prepareOutput(id: AllocationId): void {
    for (const path of [this.output(id, 'stdout'), this.output(id, 'stderr')]) {
      const spare = takeOne(this.#spareFiles);
      if (spare) renameSync(spare, path);
    }
  }

  /** What else an attempt finds when it starts, outside a cell. */
  prepareFiles(order: StartOrder): void {
    const id = order.allocationId;
    if (order.workdir === null) {
      const spare = takeOne(this.#spareFolders);
      if (spare) renameSync(spare, this.work(id));
      else mkdirSync(this.work(id), { recursive: true, mode: 0o700 });
    }
    if (order.run.kind === 'script') {
      this.#scripts.add(id);
      writeFileSync(this.script(id), order.run.script, { mode: 0o700 });
    }
  }

  outputBytes(id: AllocationId): OutputBytes {
    return { stdoutBytes: sizeOf(this.output(id, 'stdout')), stderrBytes: sizeOf(this.output(id, 'stderr')) };
  }

  /** The end of what an attempt wrote to stderr, enough for a line. */
  readonly lastWords = (id: AllocationId): string => {
    const path = this.output(id, 'stderr');
    const from = Math.max(0, sizeOf(path) - MAX_LINE_BYTES);
    return Buffer.from(bytesFrom(path, from, MAX_LINE_BYTES)).toString('utf8');
  };

  /** Idempotent. The names are free at once; deleting a large tree takes until the promise resolves. */
  remove(id: AllocationId): Promise<void> {
    // Asked again, it finds what waits for another attempt.
    for (const path of [this.output(id, 'stdout'), this.output(id, 'stderr')]) {
      if (!this.#spareFiles.has(path)) rmSync(path, { force: true });
    }
    this.#removeScript(id);
    const work = this.work(id);
    return this.#spareFolders.has(work) || !existsSync(work) ? DONE : this.#deleteFolder(work);
  }

  /** The same, keeping what is empty. Only for attempts of which no process can be left that holds a file open. */
  recycle(id: AllocationId): Promise<void> {
    this.#recycleFile(this.output(id, 'stdout'));
    this.#recycleFile(this.output(id, 'stderr'));
    this.#removeScript(id);
    return this.#recycleFolder(this.work(id));
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

  #removeScript(id: AllocationId): void {
    if (this.#scripts.delete(id)) rmSync(this.script(id), { force: true });
  }

  /** Only what nobody else can hold: a second link would share the next attempt's output. */
  #recycleFile(path: string): void {
    const found = lstatSync(path, { throwIfNoEntry: false });
    if (!found) return;
    const isClean = found.isFile() && found.size === 0 && found.nlink === 1 && (found.mode & 0o600) === 0o600;
    if (isClean && this.#spareFiles.size < MAX_SPARES) this.#spareFiles.add(path);
    else unlinkSync(path);
  }

  #recycleFolder(path: string): Promise<void> {
    const found = lstatSync(path, { throwIfNoEntry: false });
    if (!found) return DONE;
    const isClean = found.isDirectory() && (found.mode & 0o7777) === 0o700 && readdirSync(path).length === 0;
    if (!isClean || this.#spareFolders.size >= MAX_SPARES) return this.#deleteFolder(path);
    this.#spareFolders.add(path);
    return DONE;
  }

  /** The name is free at once. */
  #deleteFolder(path: string): Promise<void> {
    this.#deletedCount += 1;
    const elsewhere = join(this.root, 'deleted', String(this.#deletedCount));
    renameSync(path, elsewhere);
    return rm(elsewhere, { recursive: true, force: true });
  }
}

function takeOne(paths: Set<string>): string | undefined {
  for (const path of paths) {
    paths.delete(path);
    return path;
  }
  return undefined;
}
