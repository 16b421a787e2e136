import {
  closeSync,
  existsSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import type { AllocationId } from '../../../shared/ids.js';
import type { Random } from '../../../shared/random.js';
import type { LogStream } from '../../../shared/wire/messages.js';
import type { OutputBytes } from '../driver.js';
import { sizeOf } from '../output-file.js';

const FOLDERS = ['output', 'scripts', 'seams'] as const;
const OWNER_LENGTH = 12;

/** Where Docker's copy of a stream goes on in its file: behind `copyBytes` of the one and `fileBytes` of the other. */
export interface Seam {
  readonly copyBytes: number;
  readonly fileBytes: number;
}

export type Seams = Readonly<Record<LogStream, Seam>>;

const START: Seam = { copyBytes: 0, fileBytes: 0 };

/** The driver's directory: output that was taken from Docker, scripts, and the name under which it owns containers. */
export class Spool {
  readonly root: string;

  constructor(root: string) {
    this.root = root;
    for (const name of FOLDERS) mkdirSync(join(root, name), { recursive: true, mode: 0o700 });
  }

  /** Made once for the directory: a copied disk must not own the containers of the first. */
  owner(random: Random): string {
    const path = join(this.root, 'owner');
    if (existsSync(path)) return readFileSync(path, 'utf8');
    const owner = random
      .token(OWNER_LENGTH)
      .toLowerCase()
      .replace(/[^a-z0-9]/g, '0');
    writeFileSync(path, owner, { mode: 0o600 });
    return owner;
  }

  get bootNote(): string {
    return join(this.root, 'boot-id');
  }

  get images(): string {
    return join(this.root, 'images.json');
  }

  output(id: AllocationId, stream: LogStream): string {
    return join(this.root, 'output', `${id}.${stream === 'stdout' ? 'out' : 'err'}`);
  }

  script(id: AllocationId): string {
    return join(this.root, 'scripts', id);
  }

  /** Readable to whatever user the image has: the directories above it are closed, and the mount bypasses them. */
  writeScript(id: AllocationId, text: string): void {
    writeFileSync(this.script(id), text, { mode: 0o755 });
  }

  /** From here on a start may have been asked for: the files are what a later process knows it by. */
  begin(id: AllocationId): void {
    for (const stream of ['stdout', 'stderr'] as const) closeSync(openSync(this.output(id, stream), 'a', 0o600));
  }

  hasBegun(id: AllocationId): boolean {
    return existsSync(this.output(id, 'stderr'));
  }

  /** Milliseconds since 1970 of `begin`. */
  begunAt(id: AllocationId): number {
    return statSync(this.output(id, 'stderr'), { throwIfNoEntry: false })?.birthtimeMs ?? 0;
  }

  outputBytes(id: AllocationId): OutputBytes {
    return { stdoutBytes: sizeOf(this.output(id, 'stdout')), stderrBytes: sizeOf(this.output(id, 'stderr')) };
  }

  seams(id: AllocationId): Seams {
    const path = this.#seamsFile(id);
    return existsSync(path) ? JSON.parse(readFileSync(path, 'utf8')) : { stdout: START, stderr: START };
  }

  keepSeams(id: AllocationId, seams: Seams): void {
    const path = this.#seamsFile(id);
    writeFileSync(`${path}.new`, JSON.stringify(seams), { mode: 0o600 });
    renameSync(`${path}.new`, path);
  }

  /** Idempotent. */
  remove(id: AllocationId): void {
    rmSync(this.script(id), { force: true });
    rmSync(this.#seamsFile(id), { force: true });
    rmSync(this.output(id, 'stdout'), { force: true });
    rmSync(this.output(id, 'stderr'), { force: true });
  }

  /** Attempts of which any file exists. */
  attempts(): Set<AllocationId> {
    const outputs = readdirSync(join(this.root, 'output')).map((name) => name.replace(/\.(out|err)$/, ''));
    return new Set([...outputs, ...readdirSync(join(this.root, 'scripts'))] as AllocationId[]);
  }

  #seamsFile(id: AllocationId): string {
    return join(this.root, 'seams', id);
  }
}
