import type { Test } from 'tap';
import { EVENT_VERSION, type LoggedEvent } from '../../coordinator/model/events.js';
import type { Recovered, Store } from '../../coordinator/store/store.js';
import { Bug } from '../../shared/assert.js';
import { isAppError } from '../../shared/errors.js';
import type { JobId } from '../../shared/ids.js';

/** One place where a log lives. Each call gives a store that has not been opened, on the same log. */
export type StorePlace = () => Store;

export interface StorePlaceOptions {
  readonly retainedEventCount: number;
}

/** How many of the newest events the suite's stores keep readable. */
const RETAINED = 10;

/** What every event store must do, whatever it is made of. `makeStore` gives a place with an empty log. */
export function eventStoreConformance(t: Test, makeStore: (t: Test, options: StorePlaceOptions) => StorePlace): void {
  for (const [title, run] of Object.entries(PROMISES)) {
    t.test(title, (t) => run(t, makeStore(t, { retainedEventCount: RETAINED })));
  }
}

const PROMISES: Readonly<Record<string, (t: Test, place: StorePlace) => Promise<void>>> = {
  'a new store holds nothing': async (t, place) => {
    const store = place();
    t.strictSame(await store.open(), { snapshot: null, tail: [] });
    t.strictSame(await store.read(0, 10), []);
    await store.close();
  },

  'appended events come back, in order and unchanged, from the next owner': async (t, place) => {
    const events = eventsFrom(1, 5);
    await withStore(place, async (store) => {
      await store.append(events.slice(0, 3));
      await store.append([]);
      await store.append(events.slice(3));
    });
    await withStore(place, async (store, recovered) => {
      t.strictSame(recovered, { snapshot: null, tail: events });
      await store.append(eventsFrom(6, 1));
      t.strictSame(await store.read(4, 10), eventsFrom(5, 2));
    });
  },

  'events are read by place and count': async (t, place) => {
    await withStore(place, async (store) => {
      await store.append(eventsFrom(1, 8));
      t.strictSame(await store.read(0, 3), eventsFrom(1, 3));
      t.strictSame(await store.read(6, 100), eventsFrom(7, 2));
      t.strictSame(await store.read(8, 100), []);
      t.strictSame(await store.read(9, 100), []);
    });
  },

  'what was appended does not change with the object it came from': async (t, place) => {
    await withStore(place, async (store) => {
      const [event] = eventsFrom(1, 1) as [LoggedEvent];
      await store.append([event]);
      Object.assign(event.event, { reason: 'changed afterwards' });
      t.strictSame(await store.read(0, 1), eventsFrom(1, 1));
    });
  },

  'the next owner gets the newest snapshot and the events after it': async (t, place) => {
    await withStore(place, async (store) => {
      await store.append(eventsFrom(1, 6));
      await store.saveSnapshot({ seq: 2, body: '{"older":true}' });
      await store.saveSnapshot({ seq: 4, body: '{"newer":true}' });
      await store.saveSnapshot({ seq: 3, body: '{"late":true}' });
    });
    await withStore(place, async (_store, recovered) => {
      t.strictSame(recovered, { snapshot: { seq: 4, body: '{"newer":true}' }, tail: eventsFrom(5, 2) });
    });
  },

  'a large snapshot comes back unchanged, and appends go on while it is saved': async (t, place) => {
    // Behind the quotation mark each pair of surrogates begins at an odd place: a cut at an even one would part it.
    const body = `"${'\u{1F6A2}'.repeat(2 ** 20)}"`;
    await withStore(place, async (store) => {
      await store.append(eventsFrom(1, 1));
      const saved = store.saveSnapshot({ seq: 1, body });
      for (let seq = 2; seq <= 12; seq += 1) await store.append(eventsFrom(seq, 1));
      await saved;
    });
    await withStore(place, async (_store, recovered) => {
      t.ok(recovered.snapshot?.body === body, 'the text is the same');
      t.strictSame(recovered.tail, eventsFrom(2, 11));
    });
  },

  'a snapshot lets old events be forgotten, but none that the older snapshot needs': async (t, place) => {
    await withStore(place, async (store) => {
      await store.append(eventsFrom(1, 40));
      t.strictSame(await store.read(0, 1), eventsFrom(1, 1), 'nothing is forgotten without a snapshot');
      await store.saveSnapshot({ seq: 15, body: '{}' });
      t.equal(await store.read(14, 100), null, 'events that are in a snapshot are forgotten');
      t.strictSame(await store.read(15, 100), eventsFrom(16, 25));
      await store.saveSnapshot({ seq: 40, body: '{}' });
      t.strictSame(await store.read(15, 100), eventsFrom(16, 25), 'the older snapshot needs these');
      await store.append(eventsFrom(41, 1));
      await store.saveSnapshot({ seq: 41, body: '{}' });
      t.equal(await store.read(30, 100), null);
      t.strictSame(await store.read(31, 100), eventsFrom(32, 10), 'the newest are retained');
    });
    await withStore(place, async (store, recovered) => {
      t.strictSame(recovered, { snapshot: { seq: 41, body: '{}' }, tail: [] });
      t.equal(await store.read(0, 1), null);
      t.strictSame(await store.read(31, 1), eventsFrom(32, 1));
      await store.append(eventsFrom(42, 1));
    });
  },

  'a second owner is refused until the first has closed': async (t, place) => {
    await withStore(place, async (store) => {
      await t.rejects(place().open(), { code: 'state-dir-busy' });
      await store.append(eventsFrom(1, 1));
    });
    await withStore(place, async (_store, recovered) => {
      t.strictSame(recovered.tail, eventsFrom(1, 1));
    });
  },

  'closing waits for what is under way, and may be repeated': async (t, place) => {
    const store = place();
    await store.open();
    await Promise.all([store.append(eventsFrom(1, 3)), store.close(), store.close()]);
    await t.rejects(store.append(eventsFrom(4, 1)), { code: 'store-unavailable' });
    await t.rejects(store.read(0, 1), { code: 'store-unavailable' });
    await t.rejects(store.saveSnapshot({ seq: 1, body: '{}' }), { code: 'store-unavailable' });
    await withStore(place, async (_store, recovered) => t.strictSame(recovered.tail, eventsFrom(1, 3)));
  },

  'a gap in what is appended is a bug of the caller': async (t, place) => {
    await withStore(place, async (store) => {
      await store.append(eventsFrom(1, 2));
      await t.rejects(store.append(eventsFrom(4, 1)), Bug);
      await t.rejects(store.append(eventsFrom(2, 1)), Bug);
      await t.rejects(store.saveSnapshot({ seq: 3, body: '{}' }), Bug);
      await store.append(eventsFrom(3, 1));
      t.strictSame(await store.read(0, 10), eventsFrom(1, 3));
    });
  },
};

/** Events `firstSeq`, ... with text that JSON and UTF-8 treat specially. */
export function eventsFrom(firstSeq: number, count: number): LoggedEvent[] {
  return Array.from({ length: count }, (_, position) => eventAt(firstSeq + position));
}

/** Opens a store of this place, lends it to `work`, and closes it whatever happens. */
export async function withStore<Result>(
  place: StorePlace,
  work: (store: Store, recovered: Recovered) => Promise<Result>,
): Promise<Result> {
  const store = place();
  const recovered = await store.open();
  try {
    return await work(store, recovered);
  } finally {
    await store.close();
  }
}

/** The code with which this was refused, or null when it was not. */
export async function refusalOf(work: Promise<unknown>): Promise<string | null> {
  try {
    await work;
    return null;
  } catch (error) {
    if (isAppError(error)) return error.code;
    throw error;
  }
}

function eventAt(seq: number): LoggedEvent {
  return {
    seq,
    at: 1_790_000_000_000 + seq,
    version: EVENT_VERSION,
    event: {
      type: 'job.cancelRequested',
      jobId: `j${seq}` as JobId,
      reason: `"quoted"\n\u0000 \u2028 \ud83d lone, \u{1F6A2} whole ${'.'.repeat(seq % 97)}`,
      by: 'ärztin',
    },
  };
}
