import { type FileDigest, HpcError, type RemoteFiles } from '../backend.js';
import { quote } from '../quote.js';
import { HPC_LIMITS } from '../remote-job.js';
import { firstLine, mustRun, type RemoteShell, type ShellResult } from './remote-shell.js';

/** Files where a shell is: what needs no bytes over the wire is done by the tools that every Unix has. */
export function shellFiles(shell: RemoteShell): RemoteFiles {
  const run = (script: string, signal: AbortSignal): Promise<string> =>
    mustRun(shell, script, { signal, explain: explainFileError });
  return {
    read: (path, part, signal) => shell.read(path, part, signal),
    write: (path, bytes, options, signal) => shell.write(path, bytes, options, signal),
    move: (from, to, signal) => shell.move(from, to, signal),
    digest: async (path, signal) => {
      const file = quote(path);
      return parseDigest(await run(`[ -f ${file} ] || exit 0; wc -c <${file} && sha256sum <${file}`, signal));
    },
    list: async (folder, signal) => {
      const into = `cd ${quote(folder)} 2>/dev/null || exit 0`;
      const names = await run(`${into}; find . -type f -print0 | head -z -n ${HPC_LIMITS.maxFiles}`, signal);
      return names.split('\0').flatMap((name) => (name === '' ? [] : [name.replace(/^\.\//, '')]));
    },
    remove: (path, signal) => shell.remove(path, signal),
  };
}

/** Move and remove of a shell that has nothing better. */
export async function moveByShell(
  shell: RemoteShell,
  { from, to }: { readonly from: string; readonly to: string },
  signal: AbortSignal,
): Promise<void> {
  const script = `mkdir -p -- ${quote(folderOf(to))} && mv -f -- ${quote(from)} ${quote(to)}`;
  await mustRun(shell, script, { signal, explain: explainFileError });
}

export async function removeByShell(shell: RemoteShell, path: string, signal: AbortSignal): Promise<void> {
  await mustRun(shell, `rm -rf -- ${quote(path)}`, { signal, explain: explainFileError });
}

export function folderOf(path: string): string {
  return path.slice(0, path.lastIndexOf('/')) || '/';
}

/** What a command about a file complained of. */
export function explainFileError(result: ShellResult): HpcError {
  const text = firstLine(result);
  const isForbidden = /permission denied|read-only|not a directory|operation not permitted/i.test(text);
  return new HpcError(isForbidden ? 'configuration' : 'unavailable', text);
}

function parseDigest(text: string): FileDigest | null {
  if (text === '') return null;
  const [size = '', sha256 = ''] = text.split('\n');
  if (!/^[0-9a-f]{64}\b/.test(sha256)) throw new HpcError('configuration', `sha256sum says ${sha256.slice(0, 100)}`);
  return { byteCount: Number(size), sha256: sha256.slice(0, 64) };
}
