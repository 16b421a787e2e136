import { chmodSync, mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { type Adapter, Low } from 'lowdb';
import { present } from '../../shared/assert.js';
import type { Clock } from '../../shared/clock.js';
import { AppError } from '../../shared/errors.js';
import type { Random } from '../../shared/random.js';
import type { Attempt } from '../model/attempt.js';
import { DirectoryLock } from './directory-lock.js';
import { GroupCommit } from './group-commit.js';
import type { AgentState, AgentStore, AttemptChanges } from './store.js';
import { TwinFiles } from './twin-files.js';

const FORMAT = 1;
const FILE_NAME = 'agent.json';
const IDENTITY_BYTES = 16;

interface AgentFile {
  readonly format: number;
  readonly identity: string;
  readonly attempts: readonly Attempt[];
}

/** The agent's state as one JSON text, rewritten at each commit: it holds live attempts only, so it stays small. */
export class FileAgentStore implements AgentStore {
  readonly #directory: string;
  readonly #random: Random;
  readonly #clock: Clock;
  #lock: DirectoryLock | undefined;
  #commits: GroupCommit | undefined;

  constructor(directory: string, { random, clock }: { readonly random: Random; readonly clock: Clock }) {
    this.#clock = clock;
    this.#directory = directory;
    this.#random = random;
  }

  /** Also throws `state-dir-busy`: one agent at a time has the directory. */
  async open(): Promise<AgentState> {
    try {
      mkdirSync(this.#directory, { recursive: true, mode: 0o700 });
      chmodSync(this.#directory, 0o700);
    } catch (cause) {
      throw unavailable(`the state directory ${this.#directory} cannot be used`, cause);
    }
    this.#lock = await DirectoryLock.acquire(this.#directory);
    try {
      return await this.#load();
    } catch (error) {
      await this.close();
      throw error;
    }
  }

  save(changes: AttemptChanges): Promise<void> {
    return present(this.#commits, 'opened store').save(changes);
  }

  async close(): Promise<void> {
    await this.#commits?.settled();
    await this.#lock?.release();
    this.#lock = undefined;
  }

  async #load(): Promise<AgentState> {
    const fresh: AgentFile = { format: FORMAT, identity: this.#random.token(IDENTITY_BYTES), attempts: [] };
    const low = new Low<AgentFile>(new StateFile(join(this.#directory, FILE_NAME)), fresh);
    await low.read();
    if (low.data === fresh) await low.write();
    const identity = low.data.identity;
    const attempts = new Map(low.data.attempts.map((attempt) => [attempt.allocationId, attempt]));
    this.#commits = new GroupCommit(attempts, this.#clock, async (next) => {
      low.data = { format: FORMAT, identity, attempts: [...next.values()] };
      await low.write();
    });
    return { identity, attempts };
  }
}

/** lowdb's own file adapter neither flushes nor keeps the file private. */
class StateFile implements Adapter<AgentFile> {
  readonly #path: string;
  readonly #files: TwinFiles;
  /** An attempt is written many times and never changes: a change makes a new record. */
  readonly #texts = new WeakMap<Attempt, Uint8Array>();

  constructor(path: string) {
    this.#path = path;
    this.#files = new TwinFiles(path);
  }

  async read(): Promise<AgentFile | null> {
    try {
      const text = this.#files.read();
      return text === null ? null : checked(JSON.parse(text));
    } catch (cause) {
      if ((cause as NodeJS.ErrnoException).code !== undefined) throw unavailable(`${this.#path} cannot be read`, cause);
      throw new AppError('store-corrupt', `${this.#path} is damaged: ${(cause as Error).message}`, {
        cause,
        hint: `move it and its twin away and start again: the node then joins as a new one, and tasks still running here are ended by hand`,
      });
    }
  }

  async write(file: AgentFile): Promise<void> {
    try {
      await this.#files.write(this.#partsOf(file));
    } catch (cause) {
      throw unavailable(`${this.#path} cannot be written`, cause);
    }
  }

  #partsOf({ format, identity, attempts }: AgentFile): Uint8Array[] {
    const parts: Uint8Array[] = [
      Buffer.from(`{"format":${format},"identity":${JSON.stringify(identity)},"attempts":[`),
    ];
    for (const [at, attempt] of attempts.entries()) parts.push(at === 0 ? LINE : NEXT_LINE, this.#textOf(attempt));
    parts.push(END);
    return parts;
  }

  #textOf(attempt: Attempt): Uint8Array {
    const text = this.#texts.get(attempt) ?? Buffer.from(JSON.stringify(attempt));
    this.#texts.set(attempt, text);
    return text;
  }
}

const LINE = Buffer.from('\n');
const NEXT_LINE = Buffer.from(',\n');
const END = Buffer.from('\n]}\n');

function checked(value: unknown): AgentFile {
  const file = value as Partial<AgentFile> | null;
  if (typeof file?.identity !== 'string' || !Array.isArray(file.attempts)) throw new Error('it has no identity');
  if (file.format !== FORMAT) throw new Error(`its format is ${file.format}, this program reads ${FORMAT}`);
  for (const attempt of file.attempts as readonly Partial<Attempt>[]) {
    if (typeof attempt?.allocationId !== 'string' || attempt.phase === undefined)
      throw new Error('an attempt is incomplete');
  }
  return file as AgentFile;
}

function unavailable(detail: string, cause: unknown): AppError {
  return new AppError('store-unavailable', `${detail}: ${(cause as Error).message}`, { cause });
}
