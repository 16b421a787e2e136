import { type ChildProcess, spawn } from 'node:child_process';
import { closeSync, openSync, rmSync, writeSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { AppError } from '../../../shared/errors.js';
import type { AllocationId } from '../../../shared/ids.js';
import type { Cell } from './cell.js';
import { LedgerFile } from './ledger-file.js';
import type { Places } from './places.js';

const SCRIPT = fileURLToPath(new URL('./worker.sh', import.meta.url));
const LAUNCHER = fileURLToPath(new URL('./launch.sh', import.meta.url));
/** All that a worker itself needs: to isolate itself, and `sleep` when the disk is full. */
export const WORKER_PATH = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';

export interface WorkerOptions {
  readonly name: string;
  readonly cell: Cell | null;
  readonly exited: (signal: string | null) => void;
}

/**
 * A shell that runs attempts one after another, so that an attempt costs no start of a program but its own.
 *
 * It leads its own session and lives on without the agent: it finishes its attempt, writes down how that ended, finds
 * its stdin closed and leaves.
 */
export class Worker {
  readonly name: string;
  readonly pid: number;
  readonly ledger: LedgerFile;
  /** What it runs now. */
  attempt: AllocationId | null = null;
  attemptCount = 0;
  /** When it last became idle, on the monotonic clock. */
  idleSince = 0;
  readonly #child: ChildProcess;
  readonly #orderPath: string;
  readonly #orderFile: number;

  /** Throws `task-start-failed` when no process can be made. */
  constructor(places: Places, { name, cell, exited }: WorkerOptions) {
    this.name = name;
    this.ledger = new LedgerFile(places, name, cell);
    this.#orderPath = places.order(name);
    this.#orderFile = openSync(this.#orderPath, 'w', 0o600);
    this.#child = spawn('/bin/sh', cell ? [LAUNCHER, name, ...cell.launchArguments(SCRIPT)] : [SCRIPT, name], {
      cwd: places.root,
      detached: true,
      stdio: ['pipe', 'ignore', this.ledger.file],
      env: { PATH: WORKER_PATH },
    });
    this.#child.once('exit', (_code, signal) => exited(signal));
    this.#child.once('error', () => {});
    // It may be gone when it is told something; that shows as its exit.
    this.#child.stdin?.on('error', () => {});
    if (this.#child.pid === undefined) {
      this.discard();
      this.ledger.delete();
      throw new AppError('task-start-failed', 'no process could be made for a task; is there a limit on processes?');
    }
    this.pid = this.#child.pid;
    this.#child.unref();
  }

  /** Hands it an attempt, now. Throws when the order cannot be written; then it is still idle. */
  run(allocationId: AllocationId, order: string, nowUptimeMs: number): void {
    const bytes = Buffer.from(order);
    if (writeSync(this.#orderFile, bytes, 0, bytes.length, 0) < bytes.length) {
      throw new AppError('task-start-failed', 'the order could not be written; is the disk full?');
    }
    this.attempt = allocationId;
    this.attemptCount += 1;
    this.#child.stdin?.write(`${allocationId} ${(nowUptimeMs / 1_000).toFixed(2)}\n`);
  }

  /** It leaves after the attempt that it runs, if any. */
  dismiss(): void {
    this.#child.stdin?.end();
  }

  /** Gives up what this process holds of a worker that is gone. */
  discard(): void {
    closeSync(this.#orderFile);
    rmSync(this.#orderPath, { force: true });
  }

  /** Dismisses it and forgets it: a later agent takes over. */
  release(): void {
    this.#child.removeAllListeners('exit');
    this.dismiss();
    closeSync(this.#orderFile);
    this.ledger.close();
  }
}
