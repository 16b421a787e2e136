import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Test } from 'tap';

/** A folder of the test's own, removed when it ends. */
export function temporaryFolder(t: Test): string {
  const folder = mkdtempSync(join(tmpdir(), 'berth-test-'));
  t.teardown(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}
