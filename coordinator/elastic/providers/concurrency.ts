/** Orders of one kind that must not overlap, as where the provider knows no idempotency token. */
export class OneAtATime<Value> {
  readonly #running = new Map<string, Promise<Value>>();

  /** Does it, or waits for what is being done under this key already and shares its outcome. */
  run(key: string, act: () => Promise<Value>): Promise<Value> {
    const running = this.#running.get(key);
    if (running !== undefined) return running;
    const begun = act().finally(() => this.#running.delete(key));
    this.#running.set(key, begun);
    return begun;
  }
}

/** How many questions to one provider are open at once. */
const BATCH = 8;

/** Does it for all of them, a few at a time, and keeps the order. */
export async function inBatches<Item, Value>(
  items: readonly Item[],
  act: (item: Item) => Promise<Value>,
): Promise<readonly Value[]> {
  const values: Value[] = [];
  for (let from = 0; from < items.length; from += BATCH) {
    values.push(...(await Promise.all(items.slice(from, from + BATCH).map(act))));
  }
  return values;
}
