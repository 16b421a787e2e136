/** A broken promise of our own code. It stops the process; the log restarts it. */
export class Bug extends Error {
  override readonly name = 'Bug';
}

export function assert(claim: boolean, message: string): asserts claim {
  if (!claim) throw new Bug(message);
}

/** Makes the compiler check that a switch is complete. */
export function assertNever(value: never, what: string): never {
  throw new Bug(`unexpected ${what}: ${JSON.stringify(value)}`);
}

/** The value, or a bug if it is missing: for what an invariant says must be there. */
export function present<T>(value: T | undefined, what: string): T {
  if (value === undefined) throw new Bug(`missing ${what}`);
  return value;
}
