/** Names that are kept; who has not looked since so many changes looks at everything. */
const MAX_KEPT = 65_536;

/**
 * The names of what has changed, one after another, for those who keep something about each and look now and then.
 *
 * A name is there as often as it changed. Derived and never stored: a reader holds on to one log, and begins anew with
 * another.
 */
export class ChangeLog<Name> {
  #kept: Name[] = [];
  /** Changes that are no longer kept. */
  #forgottenCount = 0;

  /** Where to look from the next time. */
  get position(): number {
    return this.#forgottenCount + this.#kept.length;
  }

  note(name: Name): void {
    if (this.#kept.length >= MAX_KEPT) {
      this.#forgottenCount += MAX_KEPT / 2;
      this.#kept = this.#kept.slice(MAX_KEPT / 2);
    }
    this.#kept.push(name);
  }

  /** What has changed since a position of this log; undefined when some of it is forgotten. */
  since(position: number): readonly Name[] | undefined {
    return position < this.#forgottenCount ? undefined : this.#kept.slice(position - this.#forgottenCount);
  }
}
