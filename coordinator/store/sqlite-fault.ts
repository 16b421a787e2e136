import { AppError, isAppError } from '../../shared/errors.js';

/**
 * Turns what SQLite or the file system threw into a fault of the store's port; gives back whatever else it was.
 *
 * @param doing what was attempted, as in "cannot <doing>"
 */
export function storeFault(error: unknown, doing: string, path: string): unknown {
  if (isAppError(error) || !(error instanceof Error)) return error;
  const { code } = error as NodeJS.ErrnoException;
  if (code === undefined) return error;
  if (DAMAGE.test(code)) return corrupt(path, error.message, error);
  return unavailable(`cannot ${doing} ${path}: ${error.message}`, error);
}

/** SQLITE_ERROR too: all our statements are constant, so one that no longer fits has met a damaged schema. */
const DAMAGE = /^SQLITE_(CORRUPT|NOTADB|ERROR$|MISMATCH|CONSTRAINT)/;

export function corrupt(path: string, detail: string, cause?: unknown): AppError {
  return new AppError('store-corrupt', `${path} is damaged: ${detail}`, {
    cause,
    hint:
      `Move ${path} and the files beside it whose names start with log. to a safe place and keep them for diagnosis. ` +
      'Then restore log.db alone from a backup. With no backup, start with an empty directory; all jobs are forgotten.',
  });
}

export function unavailable(detail: string, cause?: unknown): AppError {
  return new AppError('store-unavailable', detail, {
    cause,
    hint: 'Check that the disk has free space, is writable, and reports no errors; then start again. Nothing is lost.',
  });
}

export function tooNew(path: string, found: number, supported: number): AppError {
  return new AppError(
    'store-corrupt',
    `${path} was written by a newer Berth: it has format ${found}, this version reads up to ${supported}`,
    { hint: 'Install the newer Berth again. The file is intact and was not changed.' },
  );
}

export function busy(stateDir: string, lockPath: string, cause: unknown): AppError {
  return new AppError('state-dir-busy', `another process uses ${stateDir}`, {
    cause,
    hint: `Stop the other coordinator (fuser ${lockPath} names it) or give this one its own state directory.`,
  });
}
