import { readFileSync, writeFileSync } from 'node:fs';
import type { DriverEnd } from './driver.js';

export const REBOOTED: DriverEnd = { kind: 'lost', message: 'the node rebooted' };

/** Keeps the machine's boot in a file; true when it is another one than the last time. */
export function noteBoot(path: string, bootId: string): boolean {
  let before: string | undefined;
  try {
    before = readFileSync(path, 'utf8');
  } catch {
    // The first start ever: there is nothing to take over.
  }
  if (before !== bootId) writeFileSync(path, bootId, { mode: 0o600 });
  return before !== undefined && before !== bootId;
}
