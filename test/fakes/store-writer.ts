/**
 * Appends events to the store in the directory of its first argument until it is killed or the store fails, and writes a
 * line for each acknowledged append: its last seq. Saves a large snapshot now and then, beside the appends.
 */
import { writeSync } from 'node:fs';
import { SqliteStore } from '../../coordinator/store/sqlite.js';
import { isAppError } from '../../shared/errors.js';
import { eventsFrom } from '../conformance/event-store.js';

const SNAPSHOT_EVERY = 25;
const RETAINED = 40;
/** Ends a writer whose killer has died. */
const LAST_SEQ = 100_000;

const stateDir = process.argv[2] ?? '';
const store = new SqliteStore({ stateDir, retainedEventCount: RETAINED });
const { snapshot, tail } = await store.open();
let lastSeq = tail.at(-1)?.seq ?? snapshot?.seq ?? 0;
writeSync(1, `${lastSeq}\n`);

try {
  while (lastSeq < LAST_SEQ) {
    const count = 1 + (lastSeq % 3);
    await store.append(eventsFrom(lastSeq + 1, count));
    lastSeq += count;
    writeSync(1, `${lastSeq}\n`);
    if (lastSeq % SNAPSHOT_EVERY === 0) {
      // Not awaited: it is to be under way when the process is killed. A full disk shows at the next append.
      store.saveSnapshot({ seq: lastSeq, body: `"${lastSeq}${'s'.repeat(2 ** 21)}"` }).catch(() => {});
    }
  }
} catch (error) {
  writeSync(1, `${isAppError(error) ? error.code : String(error)}\n`);
  await store.close();
}
