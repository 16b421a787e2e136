/**
 * What a refusal of Docker means to an attempt.
 *
 * down: the daemon does not answer, or stopped while it did. absent, conflict: the object is not there, or is already.
 * refused: the request itself is wrong. broken: the daemon could not do it.
 */
export type FaultKind = 'down' | 'absent' | 'conflict' | 'refused' | 'broken';

const DOWN_CODES = new Set(['ECONNREFUSED', 'ECONNRESET', 'ENOENT', 'EPIPE', 'ETIMEDOUT', 'EAGAIN']);

export function faultKind(error: unknown): FaultKind {
  const { statusCode, code } = error as { statusCode?: number; code?: string };
  if (statusCode === undefined) return code !== undefined && DOWN_CODES.has(code) ? 'down' : 'broken';
  if (statusCode === 404) return 'absent';
  if (statusCode === 409) return 'conflict';
  return statusCode < 500 ? 'refused' : 'broken';
}

/** Docker's own words, without the status line that its client puts before them. */
export function faultText(error: unknown): string {
  const { json, message } = error as { json?: { message?: unknown }; message?: unknown };
  const text = typeof json?.message === 'string' ? json.message : message;
  return typeof text === 'string' ? text.trim() : String(error);
}

/** An attempt that cannot start here: by its order's own fault, or because this node cannot do what another may. */
export class StartFault extends Error {
  readonly whose: 'order' | 'node';

  constructor(whose: 'order' | 'node', message: string) {
    super(message);
    this.whose = whose;
  }
}
