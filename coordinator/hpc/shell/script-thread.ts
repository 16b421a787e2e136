import { MessageChannel, type MessagePort, Worker } from 'node:worker_threads';
import { asHpcError, HpcError } from '../backend.js';
import type { HpcErrorKind } from '../remote-job.js';
import type { ShellResult } from './remote-shell.js';

/** A script to be run, and where to say how it ended. Whatever arrives there meanwhile ends it. */
export interface ScriptOrder {
  readonly script: string;
  readonly reply: MessagePort;
}

export type ScriptEnd =
  | { readonly result: ShellResult }
  | { readonly fault: { readonly kind: HpcErrorKind; readonly message: string } };

/**
 * Runs scripts from a thread of its own. Starting a process holds up the thread that does it until the other one has a
 * processor to begin on, which on a busy machine takes tens of milliseconds, and a burst of jobs starts hundreds.
 */
export class ScriptThread {
  readonly #env: Readonly<Record<string, string>>;
  readonly #underWay = new Set<Promise<unknown>>();
  #worker: Worker | undefined;

  constructor(env: Readonly<Record<string, string>>) {
    this.#env = env;
  }

  run(script: string, signal: AbortSignal): Promise<ShellResult> {
    if (signal.aborted) return Promise.reject(asHpcError(signal.reason, 'running a command'));
    const { port1: answers, port2: reply } = new MessageChannel();
    const ended = endFrom(answers, signal);
    this.#underWay.add(ended);
    ended.catch(() => {}).finally(() => this.#underWay.delete(ended));
    this.#thread().postMessage({ script, reply } satisfies ScriptOrder, [reply]);
    return ended;
  }

  /** Waits for what is under way. */
  async close(): Promise<void> {
    await Promise.allSettled(this.#underWay);
    await this.#worker?.terminate();
  }

  #thread(): Worker {
    this.#worker ??= new Worker(new URL('./script-worker.js', import.meta.url), { workerData: this.#env })
      // Those whose scripts it ran hear of its end by their channels; the next script gets a new one.
      .on('error', () => {})
      .on('exit', () => {
        this.#worker = undefined;
      });
    // By itself it keeps no process alive; what is under way does.
    this.#worker.unref();
    return this.#worker;
  }
}

function endFrom(answers: MessagePort, signal: AbortSignal): Promise<ShellResult> {
  return new Promise((resolve, reject) => {
    const stop = (): void => answers.postMessage('stop');
    signal.addEventListener('abort', stop);
    answers.once('message', (end: ScriptEnd) => {
      if ('result' in end) resolve(end.result);
      else reject(new HpcError(end.fault.kind, end.fault.message));
    });
    answers.once('close', () => {
      signal.removeEventListener('abort', stop);
      reject(new HpcError('unavailable', 'the thread that runs commands has ended'));
    });
  });
}
