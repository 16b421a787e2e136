import { ProviderError } from '../provider.js';

/** A list that has not ended by then is taken for one that never does. */
const MAX_PAGES = 100;

export interface Page<Item, Mark> {
  readonly items: readonly Item[];
  /** What the next page is asked for with; undefined after the last. */
  readonly next: Mark | undefined;
}

/**
 * All items of a list that comes in pages.
 *
 * @param ask gets a page; the first is asked for with undefined
 */
export async function allPages<Item, Mark>(
  ask: (mark: Mark | undefined) => Promise<Page<Item, Mark>>,
): Promise<readonly Item[]> {
  const found: Item[] = [];
  let mark: Mark | undefined;
  for (let count = 0; count < MAX_PAGES; count += 1) {
    const { items, next } = await ask(mark);
    found.push(...items);
    if (next === undefined) return found;
    mark = next;
  }
  throw new ProviderError('unavailable', `the list has more than ${MAX_PAGES} pages`);
}
