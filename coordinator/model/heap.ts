/** A binary min-heap on a number. Push and pop cost O(log n). */
export class MinHeap<T> {
  readonly #items: { readonly at: number; readonly value: T }[] = [];

  get size(): number {
    return this.#items.length;
  }

  firstAt(): number | undefined {
    return this.#items[0]?.at;
  }

  push(at: number, value: T): void {
    const items = this.#items;
    let child = items.push({ at, value }) - 1;
    while (child > 0) {
      const parent = (child - 1) >> 1;
      if (this.#at(parent) <= this.#at(child)) return;
      this.#swap(parent, child);
      child = parent;
    }
  }

  /** Removes and returns the least item; undefined when empty. */
  pop(): T | undefined {
    const items = this.#items;
    const top = items[0];
    const last = items.pop();
    if (top === undefined || last === undefined) return undefined;
    if (items.length > 0) {
      items[0] = last;
      this.#sink();
    }
    return top.value;
  }

  #sink(): void {
    const count = this.#items.length;
    for (let parent = 0; ; ) {
      const left = 2 * parent + 1;
      if (left >= count) return;
      const right = left + 1;
      const least = right < count && this.#at(right) < this.#at(left) ? right : left;
      if (this.#at(parent) <= this.#at(least)) return;
      this.#swap(parent, least);
      parent = least;
    }
  }

  #at(position: number): number {
    return (this.#items[position] as { at: number }).at;
  }

  #swap(left: number, right: number): void {
    const items = this.#items;
    const held = items[left] as { at: number; value: T };
    items[left] = items[right] as { at: number; value: T };
    items[right] = held;
  }
}
