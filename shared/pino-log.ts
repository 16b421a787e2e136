import { pino } from 'pino';
import type { Log } from './log.js';

/**
 * JSON lines on stderr, written before the call returns: no worker thread, and nothing is lost when the process dies.
 *
 * @param level  debug, info, warn, error or silent
 */
export function openPinoLog(level: string): Log {
  const lines = pino(
    { level, base: null, errorKey: 'error', serializers: { error: pino.stdSerializers.err } },
    pino.destination({ dest: 2, sync: true }),
  );
  return {
    debug: (message, fields = {}) => lines.debug(fields, message),
    info: (message, fields = {}) => lines.info(fields, message),
    warn: (message, fields = {}) => lines.warn(fields, message),
    error: (message, fields = {}) => lines.error(fields, message),
  };
}
