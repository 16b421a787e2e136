import { readFileSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Log } from '../../../shared/log.js';
import type { KnownGpu } from './known-gpus.js';
import type { Decisions } from './quarantine.js';
import type { XidFaults } from './xid.js';

/** What the next agent of this boot starts from, so that a restart makes no device vanish for a moment. */
export interface GpuNotes {
  readonly bootId: string;
  readonly gpus: readonly KnownGpu[];
  readonly driverVersion: string | null;
  readonly cudaVersion: string | null;
  /** Absent in the notes of older agents. */
  readonly xidFaults?: XidFaults;
}

/** Two files in the agent's state directory: its notes, which it alone writes, and the operator's decisions. */
export class GpuFiles {
  readonly #notes: string;
  readonly #decisions: string;
  readonly #log: Log;

  constructor(stateDir: string, log: Log) {
    this.#notes = join(stateDir, 'gpus.json');
    this.#decisions = join(stateDir, 'gpu-decisions.json');
    this.#log = log;
  }

  /** Undefined when there are none that can be read: they only spare a look. */
  readNotes(): GpuNotes | undefined {
    return this.#read<GpuNotes>(this.#notes);
  }

  writeNotes(notes: GpuNotes): void {
    try {
      replace(this.#notes, notes);
    } catch (error) {
      this.#log.warn('what is known of GPUs could not be kept', { error: String(error) });
    }
  }

  readDecisions(): Decisions {
    return this.#read<Decisions>(this.#decisions) ?? {};
  }

  /** Throws what the file system says. */
  writeDecisions(decisions: Decisions): void {
    replace(this.#decisions, decisions);
  }

  #read<Content>(path: string): Content | undefined {
    let text: string;
    try {
      text = readFileSync(path, 'utf8');
    } catch {
      return undefined;
    }
    try {
      return JSON.parse(text) as Content;
    } catch (error) {
      this.#log.warn('a file about GPUs is damaged and passed over', { path, error: String(error) });
      return undefined;
    }
  }
}

function replace(path: string, content: unknown): void {
  writeFileSync(`${path}.new`, `${JSON.stringify(content, null, 2)}\n`, { mode: 0o600 });
  renameSync(`${path}.new`, path);
}
