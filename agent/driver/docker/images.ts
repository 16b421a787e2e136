import type { Readable } from 'node:stream';
import type Docker from 'dockerode';
import type { Cancel, Clock } from '../../../shared/clock.js';
import type { PullPolicy } from '../../../shared/job-spec/spec.js';
import type { Log } from '../../../shared/log.js';
import type { RegistryAuth } from '../../../shared/wire/messages.js';
import { faultKind, faultText, StartFault } from './faults.js';
import type { ImageKeeper } from './image-keeper.js';
import { PullMeter, type PullProgress } from './pull-meter.js';
import { registryOf, withTag } from './registry.js';

export interface ImagesOptions {
  readonly docker: Docker;
  readonly keeper: ImageKeeper;
  readonly clock: Clock;
  readonly log: Log;
  /** The node's own credentials for a registry; asked anew for every pull. */
  readonly credentials: (registry: string) => RegistryAuth | undefined;
}

export interface ImageWish {
  readonly image: string;
  readonly pull: PullPolicy;
  /** Credentials that came with the order; they go before the node's own. */
  readonly auth?: RegistryAuth;
  readonly signal: AbortSignal;
  readonly progress: (progress: PullProgress) => void;
}

export interface ReadyImage {
  /** Names the image's content on this node. */
  readonly id: string;
  /** `repository@sha256:…` as its registry has it, else the id: what to write down to run exactly this again. */
  readonly digest: string;
  /** The program that its author put before every command; empty when there is none. */
  readonly entrypoint: readonly string[];
}

/** A pull during which nothing happens for so long is given up. */
const STALL_MS = 120_000;
const NOTHING_THERE = /not found|manifest unknown|does not exist|invalid reference|name unknown|repository name/i;

interface Pull {
  readonly waiters: Map<symbol, (progress: PullProgress) => void>;
  /** What whoever joins it is told first. */
  progress: PullProgress;
  readonly ended: Promise<void>;
  readonly abort: AbortController;
}

/** Images of this node; all who wait for the same one share one pull, which ends when nobody waits any more. */
export class Images {
  readonly #options: ImagesOptions;
  readonly #pulls = new Map<string, Pull>();

  constructor(options: ImagesOptions) {
    this.#options = options;
  }

  /** The image as the policy has it. Errors: `StartFault`, the signal's reason, or the daemon's own. */
  async ready(wish: ImageWish): Promise<ReadyImage> {
    const image = withTag(wish.image);
    const here = await this.find(image);
    if (here && (wish.pull === 'missing' || wish.pull === 'never')) return here;
    if (wish.pull === 'never') throw new StartFault('node', `image ${image} is not on this node, and pull is never`);
    try {
      await this.#pulled(image, wish);
    } catch (error) {
      // "newer" is a wish, not a condition: without its registry the image that is here will do.
      if (!here || wish.pull === 'always' || wish.signal.aborted || faultKind(error) === 'down') throw error;
      this.#options.log.warn('image could not be renewed; the one on the node is used', {
        image,
        error: faultText(error),
      });
    }
    const pulled = await this.find(image);
    if (!pulled) throw new StartFault('node', `image ${image} was pulled and is gone again`);
    await this.#options.keeper.pulled(image, pulled.id, here?.id);
    return pulled;
  }

  /** The image stays on this node until the answer is called. */
  hold(image: string): Promise<() => void> {
    return this.#options.keeper.hold(withTag(image));
  }

  async find(image: string): Promise<ReadyImage | undefined> {
    try {
      const { Id, RepoDigests, Config } = await this.#options.docker.getImage(image).inspect();
      const repository = image.replace(/(@.*|:[^:/]*)$/, '');
      const digest = RepoDigests?.find((entry) => entry.startsWith(`${repository}@`)) ?? RepoDigests?.[0];
      return { id: Id, digest: digest ?? Id, entrypoint: [Config.Entrypoint ?? []].flat() };
    } catch (error) {
      if (faultKind(error) === 'absent') return undefined;
      throw error;
    }
  }

  async #pulled(image: string, { auth, signal, progress }: ImageWish): Promise<void> {
    signal.throwIfAborted();
    const credentials = auth ?? this.#options.credentials(registryOf(image));
    // Whoever has other credentials shows them himself: a shared pull must not lend them.
    const key = `${image} ${credentials?.username ?? ''} ${credentials?.password ?? ''}`;
    const pull = this.#pulls.get(key) ?? this.#begin(key, image, credentials);
    const ticket = Symbol();
    pull.waiters.set(ticket, progress);
    progress(pull.progress);
    const leave = (): void => {
      pull.waiters.delete(ticket);
      if (pull.waiters.size === 0) pull.abort.abort();
    };
    const gone = new Promise<never>((_, reject) => {
      signal.addEventListener('abort', () => reject(signal.reason), { once: true });
    });
    try {
      await Promise.race([pull.ended, gone]);
    } finally {
      leave();
    }
  }

  #begin(key: string, image: string, credentials: RegistryAuth | undefined): Pull {
    const waiters: Pull['waiters'] = new Map();
    const abort = new AbortController();
    const tell = (progress: PullProgress): void => {
      pull.progress = progress;
      for (const waiter of waiters.values()) waiter(progress);
    };
    const ended = this.#pull({ image, credentials, tell, signal: abort.signal }).finally(() => this.#pulls.delete(key));
    // Everybody may have left by the time it fails.
    ended.catch(() => {});
    const pull: Pull = { waiters, ended, abort, progress: { bytes: 0, totalBytes: 0 } };
    this.#pulls.set(key, pull);
    return pull;
  }

  async #pull({ image, credentials, tell, signal }: OnePull): Promise<void> {
    const stall = new AbortController();
    let cancelStall: Cancel = () => {};
    const watch = (): void => {
      cancelStall();
      cancelStall = this.#options.clock.after(STALL_MS, () => stall.abort());
    };
    watch();
    try {
      const either = AbortSignal.any([signal, stall.signal]);
      const stream = (await this.#options.docker.pull(image, {
        abortSignal: either,
        ...(credentials === undefined ? {} : { authconfig: { ...credentials, serveraddress: registryOf(image) } }),
      })) as Readable;
      either.addEventListener('abort', () => stream.destroy(), { once: true });
      await followed(stream, (progress) => {
        watch();
        tell(progress);
      });
    } catch (error) {
      if (stall.signal.aborted) {
        throw new StartFault('node', `the pull of ${image} made no progress for ${STALL_MS / 1_000} s`);
      }
      throw signal.aborted || faultKind(error) === 'down' ? error : refusedPull(image, faultText(error));
    } finally {
      cancelStall();
    }
  }
}

interface OnePull {
  readonly image: string;
  readonly credentials: RegistryAuth | undefined;
  readonly tell: (progress: PullProgress) => void;
  readonly signal: AbortSignal;
}

/** Docker answers 200 before it begins: an error is a line of the stream. */
async function followed(stream: Readable, tell: (progress: PullProgress) => void): Promise<void> {
  const meter = new PullMeter();
  let rest = '';
  for await (const chunk of stream) {
    const lines = (rest + String(chunk)).split('\n');
    rest = lines.pop() ?? '';
    for (const line of lines) {
      if (line.trim() === '') continue;
      const progress = meter.take(line);
      if ('error' in progress) throw new Error(progress.error);
      tell(progress);
    }
  }
}

function refusedPull(image: string, text: string): StartFault {
  return new StartFault(NOTHING_THERE.test(text) ? 'order' : 'node', `image ${image} could not be pulled: ${text}`);
}
