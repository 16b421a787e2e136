import { parentPort, workerData } from 'node:worker_threads';
import { present } from '../../shared/assert.js';
import { isAppError } from '../../shared/errors.js';
import { openSqliteLog, type SqliteLogOptions } from './sqlite-log.js';
import type { Answer, Call } from './sqlite-thread.js';

/**
 * The thread of the SQLite store: opens the log, then makes the calls that arrive, one after another.
 *
 * A fault of the port is answered; anything else is a bug and ends the thread.
 */
const port = present(parentPort ?? undefined, 'parent port: this file runs in a worker thread');

const opening = answerOf(() => openSqliteLog(workerData as SqliteLogOptions));
if ('fault' in opening) {
  port.postMessage({ id: 0, ...opening } satisfies Answer);
} else {
  const { log, extent } = opening.value;
  port.on('message', ({ id, method, args }: Call) => {
    port.postMessage({ id, ...answerOf(() => Reflect.apply(log[method], log, args)) } satisfies Answer);
    if (method === 'close') port.close();
  });
  port.postMessage({ id: 0, value: extent } satisfies Answer);
}

function answerOf<Value>(
  work: () => Value,
): { value: Value } | { fault: Extract<Answer, { fault: unknown }>['fault'] } {
  try {
    return { value: work() };
  } catch (error) {
    if (!isAppError(error)) throw error;
    // Structured clone would strip the class, and with it the code.
    return { fault: { code: error.code, detail: error.message, hint: error.hint } };
  }
}
