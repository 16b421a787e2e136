/**
 * One table of codes: what went wrong, as HTTP status, as exit code, and whether trying again can help.
 *
 * A *refusal* is returned (the user asked for the impossible); a *fault* is thrown as AppError (network, disk, peer).
 * Branch on `code`, never on text. Every code has a row in the README.
 */
interface CodeRow {
  readonly title: string;
  readonly httpStatus: number;
  readonly exitCode: number;
  readonly retryable: boolean;
}

const row = (title: string, httpStatus: number, exitCode: number, retryable = false): CodeRow => ({
  title,
  httpStatus,
  exitCode,
  retryable,
});

export const CODES = {
  'invalid-request': row('The request is malformed', 400, 64),
  'invalid-spec': row('The specification is invalid', 422, 64),
  'unsupported-field': row('The field is not supported by this version', 422, 64),
  'impossible-resources': row('No node could ever hold this', 422, 64),
  'payload-too-large': row('The request is too large', 413, 64),
  unauthenticated: row('A valid token is required', 401, 77),
  forbidden: row('The token does not permit this', 403, 77),
  'not-found': row('There is no such thing', 404, 64),
  ambiguous: row('The name fits more than one thing', 409, 64),
  conflict: row('The state does not allow this', 409, 64),
  'key-reused': row('The idempotency key belongs to another request', 409, 64),
  'queue-full': row('The queue is at its limit', 429, 69, true),
  'rate-limited': row('Too many requests', 429, 69, true),
  'too-many-streams': row('Too many open streams', 429, 69, true),
  unreachable: row('The coordinator cannot be reached', 503, 69, true),
  'shutting-down': row('The coordinator is stopping', 503, 69, true),
  'store-unavailable': row('The event store cannot be written', 503, 69, true),
  'store-corrupt': row('The event store is damaged', 500, 125),
  'artifacts-full': row('The artifact store has no room', 503, 69, true),
  'digest-mismatch': row('The content is not what its digest says', 422, 65),
  'state-dir-busy': row('Another process uses this state directory', 500, 69),
  'protocol-version': row('The peer speaks an incompatible protocol version', 426, 69),
  'protocol-violation': row('The peer broke the protocol', 400, 69),
  'identity-in-use': row('Another live agent has this identity', 409, 69),
  'name-taken': row('Another node has this name', 409, 69),
  'task-start-failed': row('The task could not be started', 500, 125),
  internal: row('Berth failed', 500, 125),
} as const satisfies Record<string, CodeRow>;

export type ErrorCode = keyof typeof CODES;

/** One thing wrong with an input: where, what was given, what to do instead. */
export interface Problem {
  /** Path of the field, e.g. `steps[0].resources.memory`; empty for the whole. */
  readonly field: string;
  readonly message: string;
  readonly line?: number;
  readonly column?: number;
}

/** A returned "no": the input was understood and cannot be granted. */
export interface Refusal {
  readonly refused: ErrorCode;
  readonly detail: string;
  readonly hint?: string;
  readonly problems?: readonly Problem[];
}

export function refuse(refused: ErrorCode, detail: string, more: Omit<Refusal, 'refused' | 'detail'> = {}): Refusal {
  return { refused, detail, ...more };
}

export function isRefusal(value: unknown): value is Refusal {
  return typeof value === 'object' && value !== null && 'refused' in value;
}

interface AppErrorOptions {
  readonly cause?: unknown;
  readonly hint?: string;
  readonly problems?: readonly Problem[];
}

/** A thrown fault, or a refusal that crossed a boundary where only exceptions travel. */
export class AppError extends Error {
  override readonly name = 'AppError';
  readonly code: ErrorCode;
  readonly hint: string | undefined;
  readonly problems: readonly Problem[];

  constructor(code: ErrorCode, detail: string, options: AppErrorOptions = {}) {
    super(detail, options.cause === undefined ? undefined : { cause: options.cause });
    this.code = code;
    this.hint = options.hint;
    this.problems = options.problems ?? [];
  }

  static fromRefusal(refusal: Refusal): AppError {
    return new AppError(refusal.refused, refusal.detail, {
      ...(refusal.hint === undefined ? {} : { hint: refusal.hint }),
      ...(refusal.problems === undefined ? {} : { problems: refusal.problems }),
    });
  }
}

export function isAppError(error: unknown, code?: ErrorCode): error is AppError {
  return error instanceof AppError && (code === undefined || error.code === code);
}

/** The words of whatever was thrown. */
export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
