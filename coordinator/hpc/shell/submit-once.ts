import { quote, quoteArgv } from '../quote.js';
import { SUBMITTED_FILE, type Submission } from '../submission.js';

export interface SubmitOnce {
  readonly submission: Submission;
  /** Shell commands that print the ids of jobs with the tag, one a line, and nothing when there are none. */
  readonly lookup: string;
  /** Prints the id of the new job, with or without more words and `;`-parts after it. */
  readonly submit: readonly string[];
}

/**
 * A shell script that submits a job unless one with its tag is there, and prints its id.
 *
 * Looking and submitting happen under one lock in the work directory. Whoever sent this script may die while it runs and
 * send it again: the second one waits for the first, and finds what that has done. The first one leaves its mark in the
 * lock, which is empty before: it alone need not look. Without `flock` everybody looks; then only the batch script
 * itself, of which one runs, stands between two senders.
 */
export function submitOnceScript({ submission: { work }, lookup, submit }: SubmitOnce): string {
  return `cd ${quote(work)} || exit 73
is_first=
exec 9>>lock
if command -v flock >/dev/null 2>&1; then
  flock -w ${LOCK_SECONDS} 9 || exit ${LOCK_BUSY}
  [ -s lock ] || is_first=1
fi
if [ -s ${SUBMITTED_FILE} ]; then cat ${SUBMITTED_FILE}; exit; fi
id=
if [ -z "$is_first" ]; then id=$(exec 9>&-; ${lookup}) || exit; fi
echo $$ >&9 || exit
id=$(printf '%s\\n' "$id" | sort -n | sed -n '/[^[:space:]]/{p;q;}')
[ -n "$id" ] || id=$(exec 9>&-; ${quoteArgv(submit)}) || exit
printf '%s\\n' "$id" | tail -n 1 >${SUBMITTED_FILE}.new && mv ${SUBMITTED_FILE}.new ${SUBMITTED_FILE} && cat ${SUBMITTED_FILE}
`;
}

const LOCK_SECONDS = 20;
export const LOCK_BUSY = 75;
