import { readFileSync } from 'node:fs';

export interface MountEntry {
  /** Where it is mounted. */
  readonly path: string;
  readonly type: string;
  /** What is mounted, as the file system has it. */
  readonly source: string;
}

const MOUNT_POINT_FIELD = 4;

/** What this process sees mounted. Reading it asks no file system anything. */
export function mountTable(): MountEntry[] {
  return readFileSync('/proc/self/mountinfo', 'utf8')
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => {
      // A dash stands before the fields of the file system, behind a number of optional ones.
      const [before = '', after = ''] = line.split(' - ');
      const [type = '', source = ''] = after.split(' ');
      return { path: unescaped(before.split(' ')[MOUNT_POINT_FIELD] ?? ''), type, source: unescaped(source) };
    });
}

/** The kernel writes blanks and the like in octal. */
function unescaped(text: string): string {
  return text.replace(/\\([0-7]{3})/g, (_, octal: string) => String.fromCharCode(Number.parseInt(octal, 8)));
}
