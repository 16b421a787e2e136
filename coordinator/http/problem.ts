import type { FastifyError } from 'fastify';
import Type, { type Static } from 'typebox';
import {
  AppError,
  CODES,
  type ErrorCode,
  isAppError,
  isRefusal,
  type Problem,
  type Refusal,
} from '../../shared/errors.js';
import { problemsOf } from './validation.js';

export const PROBLEM_TYPE = 'application/problem+json';

export const problemSchema = Type.Object(
  {
    type: Type.String({ description: 'urn:berth:error:CODE' }),
    title: Type.String(),
    status: Type.Integer(),
    code: Type.String({ description: 'Stable; what a program may branch on.' }),
    detail: Type.String(),
    hint: Type.Optional(Type.String({ description: 'What to do.' })),
    problems: Type.Optional(
      Type.Array(
        Type.Object({
          field: Type.String(),
          message: Type.String(),
          line: Type.Optional(Type.Integer()),
          column: Type.Optional(Type.Integer()),
        }),
      ),
    ),
    requestId: Type.String({ description: "Finds the request in the coordinator's log." }),
  },
  { description: 'A problem document (RFC 9457).' },
);
export type ProblemDocument = Static<typeof problemSchema>;

/** A fault whose status HTTP prescribes, where the table of codes knows only its kind: 405, 410, 415. */
export class HttpFault extends AppError {
  readonly status: number;

  constructor(status: number, refusal: Refusal) {
    super(refusal.refused, refusal.detail, refusal.hint === undefined ? {} : { hint: refusal.hint });
    this.status = status;
  }
}

/** The value, or the refusal as a fault, which the error handler answers. */
export function granted<T>(value: T | Refusal): T {
  if (isRefusal(value)) throw AppError.fromRefusal(value);
  return value;
}

/** Any error as the fault to answer with; `internal`, with the cause kept, for what nobody foresaw. */
export function faultOf(error: unknown): AppError {
  if (isAppError(error)) return error;
  const { code, validation, validationContext, statusCode, message } = error as Partial<FastifyError>;
  if (validation) return invalid(problemsOf(validation, validationContext));
  switch (code) {
    case 'FST_ERR_CTP_BODY_TOO_LARGE':
      return new AppError('payload-too-large', 'the body is larger than 1 MiB', {
        hint: 'put large inputs into files',
      });
    case 'FST_ERR_CTP_INVALID_MEDIA_TYPE':
      return new HttpFault(415, {
        refused: 'invalid-request',
        detail: 'the body is of a type that is not accepted here',
        hint: 'send application/json; a job may also be sent as application/yaml',
      });
    default:
      if (statusCode !== undefined && statusCode >= 400 && statusCode < 500) {
        return new AppError('invalid-request', message ?? 'the request is malformed', { cause: error });
      }
      return new AppError('internal', 'an unexpected fault; the log has it under this requestId', { cause: error });
  }
}

function invalid(problems: readonly Problem[]): AppError {
  const [first] = problems;
  const text = first ? `${first.field}: ${first.message}` : 'the request does not fit the description';
  const detail = problems.length > 1 ? `${text} (the first of ${problems.length} problems)` : text;
  return new AppError('invalid-request', detail, { problems });
}

export function statusOf(fault: AppError): number {
  return fault instanceof HttpFault ? fault.status : CODES[fault.code].httpStatus;
}

export function documentOf(fault: AppError, requestId: string): ProblemDocument {
  return {
    type: `urn:berth:error:${fault.code}`,
    title: CODES[fault.code].title,
    status: statusOf(fault),
    code: fault.code,
    detail: fault.message,
    ...(fault.hint === undefined ? {} : { hint: fault.hint }),
    ...(fault.problems.length === 0 ? {} : { problems: [...fault.problems] }),
    requestId,
  };
}

const RETRY_AFTER_SECONDS = 2;

/** Headers that belong to an answer with this code. */
export function headersOf(code: ErrorCode): Readonly<Record<string, string>> {
  if (code === 'unauthenticated') return { 'www-authenticate': 'Bearer' };
  return CODES[code].retryable ? { 'retry-after': String(RETRY_AFTER_SECONDS) } : {};
}
