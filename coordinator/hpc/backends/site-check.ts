import { didYouMean } from '../../../shared/suggest.js';
import { HpcError } from '../backend.js';
import { quote } from '../quote.js';
import { firstLine, type RemoteShell } from '../shell/remote-shell.js';
import type { HpcTarget } from '../target.js';

/** Throws `refused` for a partition or queue that the site does not have. */
export function checkPartition({ partition }: Pick<HpcTarget, 'partition'>, known: readonly string[]): void {
  if (partition === null || known.includes(partition)) return;
  const names = `this account sees ${known.join(', ') || 'none'}`;
  throw new HpcError('refused', `there is no partition "${partition}"; ${names}${didYouMean(partition, known)}`);
}

/** Makes the staging root, and throws `configuration` when it cannot be written. */
export async function checkRoot(
  shell: RemoteShell,
  { stagingRoot }: Pick<HpcTarget, 'stagingRoot'>,
  signal: AbortSignal,
): Promise<void> {
  const root = quote(stagingRoot);
  const made = await shell.run(`mkdir -p -- ${root} && [ -w ${root} ]`, signal);
  if (made.exitCode === 0) return;
  throw new HpcError('configuration', `stagingRoot ${stagingRoot} cannot be written: ${firstLine(made)}`);
}
