import { AppError } from '../../shared/errors.js';
import { EVENT_VERSION, type LoggedEvent } from './events.js';

/**
 * Brings an event of an older version to today's shape.
 *
 * Throws `store-corrupt` for an event of a later version: an older Berth must not guess what a newer one meant.
 */
export function upcast(logged: LoggedEvent): LoggedEvent {
  if (logged.version === EVENT_VERSION) return logged;
  throw new AppError(
    'store-corrupt',
    `event ${logged.seq} has version ${logged.version}, this Berth reads up to ${EVENT_VERSION}`,
    { hint: 'start the version of Berth that wrote it, or a later one' },
  );
}
