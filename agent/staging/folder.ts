import type { ProgramRunner } from '../../shared/run-program.js';

/** A folder as the kernel names it, free of links. */
export interface Folder {
  readonly path: string;
  /** Its device and inode. */
  readonly identity: string;
}

/**
 * Enters a folder, and from there one below it, and says where that led each time: what a path meant before it was
 * entered may have changed since.
 */
const LOOK = `
at() {
  if cd -P -- "$1" 2>/dev/null; then printf '%s\\0' "$(pwd -P)"; return; fi
  if [ -e "$1" ]; then echo 'is not a folder that can be entered'; else echo 'is not there'; fi >&2
  exit 1
}
at "$1" && at "./$2" && stat -c %d:%i .`;

export type Seen =
  | { readonly kind: 'seen'; readonly root: string; readonly folder: Folder }
  /** It says what is wrong with the folder itself, or with the one below. */
  | { readonly kind: 'unfit'; readonly what: 'root' | 'subpath'; readonly message: string }
  /** Nothing was found out. */
  | { readonly kind: 'silent'; readonly message: string };

/**
 * Where a folder really is, or why not. Another program looks, since a file server that does not answer would hold up
 * everything that this process does with files.
 */
export async function lookAt(
  root: string,
  subpath: string | undefined,
  { run, signal }: { readonly run: ProgramRunner; readonly signal: AbortSignal },
): Promise<Seen> {
  const seen = await run(['sh', '-c', LOOK, 'look', root, subpath ?? '.'], signal);
  if (seen.kind === 'absent') return { kind: 'silent', message: 'there is no sh on this node' };
  if (seen.kind === 'failed') return { kind: 'silent', message: `it does not answer: ${seen.reason}` };
  const [realRoot = '', path = '', identity = ''] = seen.stdout.split('\0');
  if (seen.exitCode === 0) return { kind: 'seen', root: realRoot, folder: { path, identity: identity.trim() } };
  const what = realRoot === '' ? 'root' : 'subpath';
  return { kind: 'unfit', what, message: `${what === 'root' ? root : subpath} ${seen.stderr.trim()}` };
}
