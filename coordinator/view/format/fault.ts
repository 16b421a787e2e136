import { CODES, isAppError, type Problem } from '../../../shared/errors.js';
import type { Screen } from '../context.js';

/** Says on stderr what went wrong, where, and what to do about it. */
export function printFault(screen: Screen, error: unknown, fileName?: string): void {
  const { bold, red } = screen.colors;
  screen.write(`${red(bold('berth:'))} ${messageOf(error)}\n`);
  if (!isAppError(error)) return;
  for (const problem of error.problems) screen.write(`  ${problemText(problem, fileName)}\n`);
  if (error.hint !== undefined) screen.write(`  hint: ${error.hint}\n`);
}

function messageOf(error: unknown): string {
  // The detail repeats the first of the problems, which are all listed below it.
  if (isAppError(error)) return error.problems.length > 0 ? lowerFirst(CODES[error.code].title) : error.message;
  return `failed: ${error instanceof Error ? error.message : String(error)}`;
}

/** `job.yaml:3:5 steps[0].resources.cpus: the message`, as compilers have it. */
function problemText({ field, message, line, column }: Problem, fileName: string | undefined): string {
  const place =
    line === undefined
      ? ''
      : `${fileName ?? 'line '}${fileName ? ':' : ''}${line}${column === undefined ? '' : `:${column}`} `;
  return `${place}${field === '' ? '' : `${field}: `}${message}`;
}

function lowerFirst(text: string): string {
  return text.slice(0, 1).toLowerCase() + text.slice(1);
}
