import type { Readable, Writable } from 'node:stream';
import picocolors from 'picocolors';
import type { Cancel, Clock } from '../../shared/clock.js';
import type { Random } from '../../shared/random.js';
import type { ApiClient } from './client.js';
import type { ClientConfig } from './config.js';

export type Colors = ReturnType<typeof picocolors.createColors>;
export type StopSignal = 'SIGINT' | 'SIGTERM' | 'SIGHUP';

/** All that a command may touch. `main` makes the real one, tests make theirs. */
export interface Context {
  readonly out: Screen;
  readonly err: Screen;
  readonly clock: Clock;
  readonly random: Random;
  readonly config: ClientConfig;
  readonly api: ApiClient;
  /** All of standard input, as text. */
  readInput(): Promise<string>;
  /** Standard input, for what is not text. */
  readonly input: Readable;
  /** While a listener is set, the signals do not end the process. */
  onSignal(listener: (signal: StopSignal) => void): Cancel;
}

/** stdout or stderr, and what it can show. */
export interface Screen {
  readonly stream: Writable;
  readonly isTerminal: boolean;
  /** Columns now; Infinity when it is no terminal, so that nothing is cut in a pipe. */
  columns(): number;
  readonly colors: Colors;
  write(chunk: string | Uint8Array): void;
}

/** A stream that may be a terminal, as process.stdout is. */
export type TerminalStream = Writable & { readonly isTTY?: boolean; readonly columns?: number };

const NARROWEST_COLUMNS = 20;

export function screenOf(stream: TerminalStream, config: Pick<ClientConfig, 'allowsColor'>): Screen {
  const isTerminal = stream.isTTY === true;
  return {
    stream,
    isTerminal,
    columns: () => (isTerminal ? Math.max(NARROWEST_COLUMNS, stream.columns || 80) : Number.POSITIVE_INFINITY),
    colors: picocolors.createColors(isTerminal && config.allowsColor),
    write: (chunk) => void stream.write(chunk),
  };
}

/** A remark to the person at the terminal, never part of a command's result. */
export function remark(context: Context, text: string): void {
  context.err.write(`berth: ${text}\n`);
}
