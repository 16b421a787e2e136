const POLL_MS = 20;
/** What is asked for may be told of for a few seconds only. */
const MAX_POLL_MS = 1_000;
const LIMIT_MS = 60_000;

/** Waits for what another process does and no event tells of. Throws, naming it, after the limit. */
export async function until(
  what: string,
  isTrue: () => boolean | Promise<boolean>,
  limitMs: number = LIMIT_MS,
): Promise<void> {
  const limit = Date.now() + limitMs;
  for (;;) {
    const askedAt = Date.now();
    if (await isTrue()) return;
    const now = Date.now();
    if (now > limit) throw new Error(`waited in vain: ${what}`);
    // As long as the question took: what starts programs to answer leaves those that are waited for half of the machine.
    await new Promise((resolve) => setTimeout(resolve, Math.min(MAX_POLL_MS, Math.max(POLL_MS, now - askedAt))));
  }
}
