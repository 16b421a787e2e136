const POLL_MS = 20;
const LIMIT_MS = 60_000;

/** Waits for what another process does and no event tells of. Throws, naming it, after the limit. */
export async function until(
  what: string,
  isTrue: () => boolean | Promise<boolean>,
  limitMs: number = LIMIT_MS,
): Promise<void> {
  const limit = Date.now() + limitMs;
  while (!(await isTrue())) {
    if (Date.now() > limit) throw new Error(`waited in vain: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, POLL_MS));
  }
}
