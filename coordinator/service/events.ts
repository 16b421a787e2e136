import { type Refusal, refuse } from '../../shared/errors.js';
import type { EventType, LoggedEvent } from '../model/events.js';
import { Latch, raiseOnAbort } from './latch.js';
import { type EventView, presentEvent } from './present-event.js';
import type { Service } from './service.js';

export interface EventRequest {
  /** Begins behind this event; with what happens from now on when absent. */
  readonly after?: number | undefined;
  /** Only these; all when absent. */
  readonly types?: ReadonlySet<EventType> | undefined;
  /** After this long without an event a null is yielded, so that the reader can give a sign of life. */
  readonly idleMs: number;
  readonly signal: AbortSignal;
}

const HISTORY_PAGE = 500;
/** Events held for a reader that is behind; with more it goes back to the log. */
const MAX_HELD = 5_000;

/**
 * Events in order without gap or repetition: those of the log first, then each as it is committed.
 *
 * Refuses when events behind `after` are forgotten, or `after` lies beyond the log's end. Ends early when the signal
 * aborts, and when a slow reader has fallen behind what the log still knows: it comes again and is refused.
 */
export async function openEvents(
  service: Service,
  request: EventRequest,
): Promise<AsyncGenerator<EventView | null> | Refusal> {
  const { engine } = service;
  const lastSeq = await engine.read((view) => view.lastSeq);
  const after = request.after ?? lastSeq;
  if (after > lastSeq) {
    return refuse('not-found', `the log ends with event ${lastSeq}, there is no event ${after}`, { hint: FROM_NOW });
  }
  const isKnown = after === lastSeq || (await engine.history(after, 1)) !== null;
  if (!isKnown) return refuse('not-found', `the events that follow ${after} have been forgotten`, { hint: FROM_NOW });
  return eventsAfter(service, after, request);
}

const FROM_NOW = 'look at the present state, then follow the events from now on: without after and Last-Event-ID';

async function* eventsAfter(service: Service, after: number, request: EventRequest): AsyncGenerator<EventView | null> {
  const { signal, types, idleMs } = request;
  const reader = new EventReader(service, after, request);
  let toldAt = service.clock.monotonic();
  try {
    while (!signal.aborted) {
      const events = await reader.next();
      if (events === 'forgotten') return;
      const isSilent = events.length === 0 || service.clock.monotonic() - toldAt >= idleMs;
      const wanted = events.filter(({ event }) => !types || types.has(event.type));
      if (wanted.length > 0 || isSilent) toldAt = service.clock.monotonic();
      for (const logged of wanted) yield presentEvent(logged);
      if (wanted.length === 0 && isSilent) yield null;
    }
  } finally {
    reader.close();
  }
}

/** Reads the log until it has caught up, then what is committed; back to the log whenever it falls too far behind. */
class EventReader {
  readonly #service: Service;
  readonly #request: EventRequest;
  readonly #latch = new Latch();
  readonly #cancels: readonly (() => void)[];
  #after: number;
  #held: LoggedEvent[] = [];
  #isBehind = true;

  constructor(service: Service, after: number, request: EventRequest) {
    this.#service = service;
    this.#after = after;
    this.#request = request;
    this.#cancels = [
      service.engine.onCommitted((events) => this.#hold(events)),
      raiseOnAbort(this.#latch, request.signal),
    ];
  }

  close(): void {
    for (const cancel of this.#cancels) cancel();
  }

  /** The next events, in order; none when it is time for a sign of life or to stop. */
  async next(): Promise<readonly LoggedEvent[] | 'forgotten'> {
    if (this.#isBehind) return this.#readLog();
    if (this.#held.length === 0) await this.#latch.waitAtMost(this.#service.clock, this.#request.idleMs);
    if (this.#isBehind) return this.#readLog();
    return this.#advance(this.#held.splice(0));
  }

  async #readLog(): Promise<readonly LoggedEvent[] | 'forgotten'> {
    // From here on what is committed is held again, so nothing is missed between the log and it.
    this.#isBehind = false;
    this.#held = [];
    const page = await this.#service.engine.history(this.#after, HISTORY_PAGE);
    if (page === null) return 'forgotten';
    if (page.length === HISTORY_PAGE) this.#isBehind = true;
    return this.#advance(page);
  }

  /** What the log gave may be among what was held meanwhile. */
  #advance(events: readonly LoggedEvent[]): readonly LoggedEvent[] {
    const fresh = events.filter(({ seq }) => seq > this.#after);
    this.#after = fresh.at(-1)?.seq ?? this.#after;
    return fresh;
  }

  #hold(events: readonly LoggedEvent[]): void {
    if (this.#isBehind) return;
    if (this.#held.length + events.length > MAX_HELD) {
      this.#isBehind = true;
      this.#held = [];
    } else {
      this.#held.push(...events);
    }
    this.#latch.raise();
  }
}
