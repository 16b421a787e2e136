import { Worker } from 'node:worker_threads';
import { AppError, type ErrorCode } from '../../shared/errors.js';
import type { SqliteLog, SqliteLogOptions } from './sqlite-log.js';
import type { LogExtent } from './sqlite-verify.js';

type Method =
  | ('append' | 'read' | 'putSnapshotPart' | 'keepSnapshot' | 'forgetEvents' | 'close')
  | ('pastJob' | 'pastJobs' | 'pastTasks' | 'forgettableJobs' | 'forgetJob');

export interface Call {
  readonly id: number;
  readonly method: Method;
  readonly args: readonly unknown[];
}

/** `id` is the call's; 0 answers the opening. */
export type Answer = { readonly id: number; readonly value: unknown } | { readonly id: number; readonly fault: Fault };

interface Fault {
  readonly code: ErrorCode;
  readonly detail: string;
  readonly hint: string | undefined;
}

interface Waiter {
  readonly resolve: (value: unknown) => void;
  readonly reject: (error: unknown) => void;
}

/** An SqliteLog in a thread of its own. Calls are performed in the order in which they are made. */
export class SqliteThread {
  /** Settles when the log is verified, or refused; then the thread has ended too. */
  readonly opened: Promise<LogExtent>;
  /** Resolves when the thread is gone and has released everything. */
  readonly ended: Promise<void>;
  readonly #worker: Worker;
  readonly #waiters = new Map<number, Waiter>();
  #lastId = 0;
  #death: AppError | undefined;

  constructor(options: SqliteLogOptions) {
    this.#worker = new Worker(new URL('./sqlite-worker.js', import.meta.url), { workerData: options });
    this.opened = this.#answerTo(0) as Promise<LogExtent>;
    this.#worker.on('message', (answer: Answer) => this.#settle(answer));
    this.#worker.on('error', (error) => this.#die(error));
    this.ended = new Promise((resolve) => {
      this.#worker.on('exit', () => {
        this.#die();
        resolve();
      });
    });
  }

  /** Rejects with what the log threw, or with `store-unavailable` when the thread is gone. */
  call<M extends Method>(method: M, ...args: Parameters<SqliteLog[M]>): Promise<ReturnType<SqliteLog[M]>> {
    if (this.#death) return Promise.reject(this.#death);
    this.#lastId += 1;
    this.#worker.postMessage({ id: this.#lastId, method, args } satisfies Call);
    return this.#answerTo(this.#lastId) as Promise<ReturnType<SqliteLog[M]>>;
  }

  #answerTo(id: number): Promise<unknown> {
    return new Promise((resolve, reject) => this.#waiters.set(id, { resolve, reject }));
  }

  #settle(answer: Answer): void {
    const waiter = this.#waiters.get(answer.id);
    this.#waiters.delete(answer.id);
    if ('value' in answer) {
      waiter?.resolve(answer.value);
    } else {
      const { code, detail, hint } = answer.fault;
      waiter?.reject(new AppError(code, detail, hint === undefined ? {} : { hint }));
    }
  }

  #die(cause?: unknown): void {
    this.#death ??= new AppError('store-unavailable', 'the thread of the event store has ended', { cause });
    for (const waiter of this.#waiters.values()) waiter.reject(this.#death);
    this.#waiters.clear();
  }
}
