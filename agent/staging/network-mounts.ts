import { mkdirSync, readdirSync, rmdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import type { Cancel, Clock } from '../../shared/clock.js';
import { AppError } from '../../shared/errors.js';
import type { AllocationId } from '../../shared/ids.js';
import type { Log } from '../../shared/log.js';
import { type ProgramRunner, runnerOf } from '../../shared/run-program.js';
import { mountTable } from './mount-table.js';
import type { NetworkPlace, NodeVolume } from './node-volume.js';

export interface NetworkMountsOptions {
  /** Where they are mounted, each at its volume's name; made when needed. */
  readonly directory: string;
  readonly volumes: readonly NodeVolume[];
  readonly clock: Clock;
  readonly log: Log;
}

const MOUNT_LIMIT_MS = 30_000;
const MAX_OUTPUT_BYTES = 65_536;
const IDLE_MS = 10 * 60_000;
const IDLE_CHECK_MS = 60_000;
const TYPES = { nfs: 'nfs', smb: 'cifs' } as const;

interface Mounted {
  readonly name: string;
  readonly place: NetworkPlace;
  readonly isWritable: boolean;
  readonly path: string;
  /** Its own, so that a server that hangs holds up no other. */
  readonly run: ProgramRunner;
  readonly users: Set<AllocationId>;
  idleSince: number;
  /** What is being done with it; one thing after another. */
  last: Promise<unknown>;
}

/**
 * Volumes of other machines, mounted at their first use and taken down when nobody has used them for a while.
 *
 * Programs of their own mount and unmount, with a time limit: a server that does not answer holds up the tasks that want
 * it, and never this process. What running tasks use outlives this process, which finds it again.
 */
export class NetworkMounts {
  readonly #options: NetworkMountsOptions;
  readonly #mounts = new Map<string, Mounted>();
  #cancelCheck: Cancel = () => {};

  constructor(options: NetworkMountsOptions) {
    this.#options = options;
    const limits = { clock: options.clock, timeLimitMs: MOUNT_LIMIT_MS, maxOutputBytes: MAX_OUTPUT_BYTES };
    for (const { name, place, writable } of options.volumes) {
      if (place.kind !== 'network') continue;
      const path = join(options.directory, name);
      const own = { name, place, isWritable: writable, path, run: runnerOf(limits), users: new Set<AllocationId>() };
      this.#mounts.set(name, { ...own, idleSince: options.clock.monotonic(), last: Promise.resolve() });
    }
    if (this.#mounts.size > 0) this.#checkLater();
  }

  /** What earlier processes left: what is still wanted is kept for attempts that may use it, the rest is taken down. */
  async recover(allocationIds: readonly AllocationId[]): Promise<void> {
    const table = mountTable();
    for (const name of namesIn(this.#options.directory)) {
      const path = join(this.#options.directory, name);
      const mounted = this.#mounts.get(name);
      const isSame = table.some((each) => each.path === path && isOf(each.source, mounted?.place));
      if (mounted && isSame) for (const id of allocationIds) mounted.users.add(id);
      else await this.#takeDown(path, mounted?.run);
    }
  }

  /**
   * Where a volume is mounted, which it is from now on until `release`. Errors: `unreachable` when its server does not
   * do it now; `task-start-failed` when it never will.
   */
  async use(name: string, id: AllocationId): Promise<string> {
    const mounted = this.#mounts.get(name);
    if (mounted === undefined) throw new AppError('internal', `"${name}" is no volume of another machine`);
    mounted.users.add(id);
    await this.#inTurn(mounted, async () => {
      if (!mountTable().some(({ path }) => path === mounted.path)) await this.#mount(mounted);
    });
    return mounted.path;
  }

  release(id: AllocationId): void {
    for (const mounted of this.#mounts.values()) {
      if (mounted.users.delete(id)) mounted.idleSince = this.#options.clock.monotonic();
    }
  }

  /** Its server has given up what was mounted: it is mounted anew at its next use. */
  async renew(name: string): Promise<void> {
    const mounted = this.#mounts.get(name);
    if (mounted) await this.#inTurn(mounted, () => this.#takeDown(mounted.path, mounted.run));
  }

  /** Takes down what nobody uses; tasks go on with the rest. */
  async close(): Promise<void> {
    this.#cancelCheck();
    await this.#takeDownIdle(0);
  }

  #checkLater(): void {
    this.#cancelCheck = this.#options.clock.after(IDLE_CHECK_MS, () => {
      void this.#takeDownIdle(IDLE_MS).finally(() => this.#checkLater());
    });
  }

  async #takeDownIdle(idleMs: number): Promise<void> {
    const now = this.#options.clock.monotonic();
    const idle = [...this.#mounts.values()].filter((each) => each.users.size === 0 && now - each.idleSince >= idleMs);
    await Promise.all(
      idle.map((each) =>
        this.#inTurn(each, async () => {
          if (each.users.size === 0) await this.#takeDown(each.path, each.run);
        }),
      ),
    );
  }

  #inTurn<T>(mounted: Mounted, work: () => Promise<T>): Promise<T> {
    const result = mounted.last.then(work);
    mounted.last = result.catch(() => {});
    return result;
  }

  async #mount({ name, place, isWritable, path, run }: Mounted): Promise<void> {
    const options = [...place.options, ...ownOptions(place), isWritable ? 'rw' : 'ro', 'nosuid', 'nodev'];
    mkdirSync(path, { recursive: true, mode: 0o700 });
    const argv = ['mount', '-t', TYPES[place.protocol], '-o', options.join(','), '--', place.source, path];
    const result = await run(argv, new AbortController().signal);
    if (result.kind === 'ended' && result.exitCode === 0) {
      this.#options.log.info('volume is mounted', { volume: name, source: place.source });
      return;
    }
    const program = place.protocol === 'nfs' ? 'nfs-common' : 'cifs-utils';
    const said = result.kind === 'ended' ? firstLine(result.stderr) : reasonOf(result);
    // With a time limit in the middle of it, something may be mounted half.
    await this.#takeDown(path, run);
    throw new AppError('unreachable', `${place.source} cannot be mounted: ${said}`, {
      hint: `is its server up, and the package ${program} installed here?`,
    });
  }

  async #takeDown(path: string, own?: ProgramRunner): Promise<void> {
    const run = own ?? runnerOf({ ...this.#options, timeLimitMs: MOUNT_LIMIT_MS, maxOutputBytes: MAX_OUTPUT_BYTES });
    if (mountTable().some((each) => each.path === path)) {
      // At once, whoever has a file open: the kernel lets go of it when they do. It asks no server.
      const result = await run(
        ['umount', '--lazy', '--internal-only', '--no-canonicalize', '--', path],
        new AbortController().signal,
      );
      const isDown = result.kind === 'ended' && result.exitCode === 0;
      if (isDown) this.#options.log.info('volume is unmounted', { path });
      else this.#options.log.warn('volume cannot be unmounted', { path, result });
      if (!isDown) return;
    }
    try {
      rmdirSync(path);
    } catch {
      // It is needed again, or it never was there.
    }
  }
}

/** The kernel's name for it may lack a slash at the end. */
function isOf(source: string, place: NetworkPlace | undefined): boolean {
  return source.replace(/\/+$/, '') === place?.source.replace(/\/+$/, '');
}

function ownOptions({ protocol, credentialsFile }: NetworkPlace): string[] {
  // Tried again by us, not in the background of a mount that nobody waits for.
  if (protocol === 'nfs') return ['retry=0'];
  if (credentialsFile === null) return ['guest'];
  const { mode, uid } = statOf(credentialsFile);
  if ((mode & 0o077) !== 0 || uid !== process.getuid?.()) {
    const hint = `chown it to the agent's user, and chmod 600 ${credentialsFile}; it may have been read already`;
    throw new AppError('task-start-failed', `${credentialsFile} is not its owner's alone to read; ${hint}`);
  }
  return [`credentials=${credentialsFile}`];
}

function statOf(path: string): { readonly mode: number; readonly uid: number } {
  try {
    return statSync(path);
  } catch (cause) {
    throw new AppError('task-start-failed', `its credentials: ${(cause as Error).message}`, { cause });
  }
}

function reasonOf(result: { readonly kind: 'absent' } | { readonly kind: 'failed'; readonly reason: string }): string {
  return result.kind === 'absent' ? 'there is no program mount' : result.reason;
}

function firstLine(text: string): string {
  return text.trim().split('\n', 1)[0] ?? '';
}

function namesIn(directory: string): string[] {
  try {
    return readdirSync(directory);
  } catch {
    return [];
  }
}
