/** Names of files below a folder, as users and tasks give them: never absolute, never leaving the folder. */
const MAX_PATH_BYTES = 512;
const MAX_PART_BYTES = 255;
const CONTROL = /\p{Cc}/u;

/** What is wrong with a relative path, as the end of a sentence; undefined when nothing is. */
export function relativePathComplaint(path: string): string | undefined {
  if (path === '') return 'is empty; write a path below the workspace, for example data/scan.nii';
  if (path.startsWith('/')) return 'is absolute; write a path below the workspace';
  if (path.includes('\\')) return 'has a backslash; write / between the parts of a path';
  if (CONTROL.test(path)) return 'has a control character';
  if (Buffer.byteLength(path) > MAX_PATH_BYTES) return `is longer than ${MAX_PATH_BYTES} bytes`;
  for (const part of path.split('/')) {
    if (part === '..') return 'has a part "..", which could leave the workspace';
    if (part === '.' || part === '') return 'has an empty part or "."; write it without';
    if (Buffer.byteLength(part) > MAX_PART_BYTES) return `has a part that is longer than ${MAX_PART_BYTES} bytes`;
  }
  return undefined;
}

/** Equal for names that a file system without upper and lower case takes for one. */
export function foldedPath(path: string): string {
  return path.normalize('NFC').toLowerCase();
}

/** True when one path is the other, or a folder above it. */
export function overlaps(left: string, right: string): boolean {
  const [a, b] = [`${foldedPath(left)}/`, `${foldedPath(right)}/`];
  return a.startsWith(b) || b.startsWith(a);
}
