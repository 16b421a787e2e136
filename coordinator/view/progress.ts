import type { JobView } from './api.js';
import type { Context, Screen } from './context.js';
import { progressLine } from './format/progress-line.js';

/** A line at the bottom of a terminal that says where a job stands; nothing at all elsewhere. */
export interface Progress {
  /** The same context, whose screens let the line step aside for other text. */
  readonly context: Context;
  show(job: JobView): void;
  /** Takes the line away. */
  end(): void;
}

/** Often enough for the eye, and cheap beside a busy output. */
const REDRAW_MS = 200;
const NEWLINE = 0x0a;

export async function startProgress(context: Context): Promise<Progress> {
  if (!context.err.isTerminal) return { context, show: () => {}, end: () => {} };
  const { createLogUpdate } = await import('log-update');
  const draw = createLogUpdate(context.err.stream as NodeJS.WriteStream, { showCursor: true });
  return new TerminalProgress(context, draw);
}

interface Draw {
  (text: string): void;
  clear(): void;
}

class TerminalProgress implements Progress {
  readonly context: Context;
  readonly #clock: Context['clock'];
  readonly #draw: Draw;
  readonly #columns: () => number;
  #line: string | null = null;
  #drawnAt = Number.NEGATIVE_INFINITY;
  /** Other text stands in the last row without its newline: a line of ours would cut it. */
  #isMidLine = false;

  constructor(context: Context, draw: Draw) {
    this.#clock = context.clock;
    this.#draw = draw;
    this.#columns = context.err.columns;
    this.context = { ...context, out: this.#besides(context.out), err: this.#besides(context.err) };
  }

  show(job: JobView): void {
    this.#line = progressLine(job, { now: this.#clock.now(), columns: this.#columns() });
    if (this.#line === null) this.#draw.clear();
    else this.#redraw();
  }

  end(): void {
    this.#line = null;
    this.#draw.clear();
  }

  #redraw(): void {
    if (this.#line === null || this.#isMidLine) return;
    this.#draw(this.#line);
    this.#drawnAt = this.#clock.monotonic();
  }

  #besides(screen: Screen): Screen {
    return {
      ...screen,
      write: (chunk) => {
        if (this.#line !== null) this.#draw.clear();
        screen.write(chunk);
        if (screen.isTerminal) this.#isMidLine = !endsLine(chunk);
        if (this.#clock.monotonic() - this.#drawnAt >= REDRAW_MS) this.#redraw();
      },
    };
  }
}

function endsLine(chunk: string | Uint8Array): boolean {
  return typeof chunk === 'string' ? chunk.endsWith('\n') : chunk.at(-1) === NEWLINE;
}
