/** What a shell says of a command that a signal ended. */
const WORDS: Readonly<Record<number, string>> = {
  1: 'Hangup',
  3: 'Quit',
  4: 'Illegal instruction',
  5: 'Trace/breakpoint trap',
  6: 'Aborted',
  7: 'Bus error',
  8: 'Floating point exception',
  9: 'Killed',
  10: 'User defined signal 1',
  11: 'Segmentation fault',
  12: 'User defined signal 2',
  14: 'Alarm clock',
  15: 'Terminated',
  16: 'Stack fault',
  24: 'CPU time limit exceeded',
  25: 'File size limit exceeded',
  26: 'Virtual timer expired',
  27: 'Profiling timer expired',
  29: 'I/O possible',
  30: 'Power failure',
  31: 'Bad system call',
};
const FIRST_REAL_TIME = 34;
/** Signals of which no shell says a word; a status that means one is taken for it. */
const SILENT = new Set([2, 13]);

/**
 * Whether a command was ended by the signal that its status means, and did not just exit with that status: then the
 * last line that was written is the shell's word for the signal, alone (dash) or behind its script's name (bash).
 *
 * A script whose own shell said the word, and passed the status on, is told as a signal too.
 */
export function isWordOf(signal: number, lastWords: () => string): boolean {
  if (SILENT.has(signal)) return true;
  const word = WORDS[signal] ?? `Real-time signal ${signal - FIRST_REAL_TIME}`;
  const line = lastWords().trimEnd().split('\n').at(-1) ?? '';
  return line.startsWith(word) || new RegExp(`: line \\d+: +\\d+ ${word}`).test(line);
}
