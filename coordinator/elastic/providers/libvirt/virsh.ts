import { runnerOf } from '../../../../shared/run-program.js';
import { ProviderError, type ProviderFault, type ProviderWorld } from '../../provider.js';

/** Runs `virsh ARGS` and resolves to what it prints. Rejects with what its complaint means. */
export type Virsh = (args: readonly string[], signal: AbortSignal) => Promise<string>;

export interface VirshOptions {
  readonly uri: string;
  readonly world: ProviderWorld;
}

/** Saving the memory of a large machine takes long. */
const TIME_LIMIT_MS = 600_000;
const MAX_OUTPUT_BYTES = 4 * 1024 * 1024;
const DEFAULT_PATH = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';

export function virshOf({ uri, world }: VirshOptions): Virsh {
  const { PATH, HOME, XDG_RUNTIME_DIR, SSH_AUTH_SOCK } = world.environment;
  // Its complaints are read, so they have to be in English.
  const environment = {
    LC_ALL: 'C',
    PATH: PATH ?? DEFAULT_PATH,
    HOME: HOME ?? '/',
    ...(XDG_RUNTIME_DIR === undefined ? {} : { XDG_RUNTIME_DIR }),
    ...(SSH_AUTH_SOCK === undefined ? {} : { SSH_AUTH_SOCK }),
  };
  const options = { clock: world.clock, timeLimitMs: TIME_LIMIT_MS, maxOutputBytes: MAX_OUTPUT_BYTES, environment };
  return async (args, signal) => {
    const result = await runnerOf(options)(['virsh', '--quiet', '--connect', uri, ...args], signal);
    if (result.kind === 'absent') {
      throw new ProviderError('configuration', 'there is no virsh; run apt-get install libvirt-clients');
    }
    if (result.kind === 'failed') throw new ProviderError('unavailable', `virsh ${args[0]}: ${result.reason}`);
    if (result.exitCode === 0) return result.stdout;
    const complaint = result.stderr.trim().replace(/^error: /gm, '');
    throw new ProviderError(faultOf(complaint), `virsh ${args[0]}: ${complaint}`);
  };
}

/** libvirt's own numbers for errors do not reach the command line. */
const FAULTS: readonly (readonly [RegExp, ProviderFault])[] = [
  [/failed to get domain|Domain not found|no domain with matching/i, 'not-found'],
  [/cannot allocate memory|no space left|insufficient/i, 'capacity'],
  [/authentication|permission denied|access denied|polkit/i, 'credentials'],
  [/state change lock|timed out|failed to connect|connection (refused|reset)|broken pipe|end of file/i, 'unavailable'],
  [
    /storage (pool|vol)|network not found|failed to get (pool|vol|network)|no (pool|network|storage) /i,
    'configuration',
  ],
  [/capabilities|unsupported|not supported|XML|could not (open|find)|no such file|invalid/i, 'configuration'],
];

function faultOf(complaint: string): ProviderFault {
  return FAULTS.find(([pattern]) => pattern.test(complaint))?.[1] ?? 'unavailable';
}
