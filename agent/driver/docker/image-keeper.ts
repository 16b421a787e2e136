import { readFileSync, renameSync, statfsSync, writeFileSync } from 'node:fs';
import type Docker from 'dockerode';
import type { Clock } from '../../../shared/clock.js';
import type { Log } from '../../../shared/log.js';
import { faultKind, faultText } from './faults.js';

export interface ImageKeeperOptions {
  readonly docker: Docker;
  /** Where it is written down which images are this agent's. */
  readonly path: string;
  /** Above it images go; 100 keeps all. */
  readonly highWaterPercent: number;
  /** How full the disk of a folder is. */
  readonly fullness?: (folder: string) => number;
  readonly clock: Clock;
  readonly log: Log;
}

export interface PulledImage {
  readonly id: string;
  /** As attempts asked for it. */
  readonly names: readonly string[];
  readonly usedAt: number;
}

/** Images go until the disk is so much emptier. */
const LOW_WATER_BELOW_PERCENT = 10;

/**
 * Removes images when the disk of Docker's folder is nearly full, the longest unused first: only such as this agent has
 * pulled, that nobody gave another name, that no container has, running or not, and that no attempt waits for.
 */
export class ImageKeeper {
  readonly #options: ImageKeeperOptions;
  readonly #images: Map<string, PulledImage>;
  /** Names that attempts are about to use, and how many. */
  readonly #held = new Map<string, number>();
  /** Docker's own. */
  #folder: string | undefined;
  #isCollecting = false;
  #removal: Promise<void> = Promise.resolve();

  constructor(options: ImageKeeperOptions) {
    this.#options = options;
    this.#images = new Map(read(options.path).map((image) => [image.id, image]));
  }

  /** From here on until the answer is called, the image of that name stays, if it is there. */
  async hold(image: string): Promise<() => void> {
    const name = plain(image);
    this.#held.set(name, (this.#held.get(name) ?? 0) + 1);
    await this.#removal.catch(() => {});
    for (const known of this.#images.values()) if (known.names.includes(name)) this.#note(known);
    return () => {
      const left = (this.#held.get(name) ?? 1) - 1;
      if (left === 0) this.#held.delete(name);
      else this.#held.set(name, left);
    };
  }

  /** `before` is the image that had the name until then: one of somebody else's stays somebody else's. */
  async pulled(image: string, id: string, before: string | undefined): Promise<void> {
    const known = this.#images.get(id);
    const isOurs = known !== undefined || before === undefined || this.#images.has(before);
    const names = [...new Set([...(known?.names ?? []), plain(image)])];
    if (isOurs && (await this.#hasOnly(id, names))) this.#note({ id, names });
    void this.collect();
  }

  /** Does nothing while the disk has room. Never rejects. */
  async collect(): Promise<void> {
    const { docker, highWaterPercent, log, fullness = fullnessOf } = this.#options;
    if (this.#isCollecting || this.#images.size === 0) return;
    this.#isCollecting = true;
    try {
      this.#folder ??= ((await docker.info()) as { readonly DockerRootDir: string }).DockerRootDir;
      if (fullness(this.#folder) <= highWaterPercent) return;
      for (const image of [...this.#images.values()].sort((left, right) => left.usedAt - right.usedAt)) {
        await this.#remove(image);
        if (fullness(this.#folder) <= highWaterPercent - LOW_WATER_BELOW_PERCENT) return;
      }
    } catch (error) {
      log.warn('images could not be removed', { error: faultText(error) });
    } finally {
      this.#isCollecting = false;
    }
  }

  async #remove({ id, names }: PulledImage): Promise<void> {
    const { docker, log } = this.#options;
    const containers = await docker.listContainers({ all: true, filters: { ancestor: [id] } });
    if (containers.length > 0 || !(await this.#hasOnly(id, names))) return;
    if (names.some((name) => this.#held.has(name))) return;
    this.#removal = this.#drop(id);
    try {
      await this.#removal;
      log.info('an image was removed, for the disk is full', { image: names[0] ?? id });
    } catch (error) {
      // Somebody uses it since we looked.
      if (faultKind(error) !== 'conflict') throw error;
    }
  }

  async #drop(id: string): Promise<void> {
    const { docker } = this.#options;
    const tags = await this.#tagsOf(id);
    // By its last name, or by none, the image itself goes. Docker refuses when a container came meanwhile.
    for (const name of tags === undefined ? [] : tags.length > 0 ? tags : [id]) await docker.getImage(name).remove();
    this.#images.delete(id);
    this.#save();
  }

  async #hasOnly(id: string, names: readonly string[]): Promise<boolean> {
    return ((await this.#tagsOf(id)) ?? []).every((tag) => names.includes(plain(tag)));
  }

  async #tagsOf(id: string): Promise<readonly string[] | undefined> {
    try {
      return (await this.#options.docker.getImage(id).inspect()).RepoTags ?? [];
    } catch (error) {
      if (faultKind(error) === 'absent') return undefined;
      throw error;
    }
  }

  #note({ id, names }: Pick<PulledImage, 'id' | 'names'>): void {
    this.#images.set(id, { id, names, usedAt: this.#options.clock.now() });
    this.#save();
  }

  /** An attempt does not fail over it: at worst an image stays. */
  #save(): void {
    const { path, log } = this.#options;
    try {
      writeFileSync(`${path}.new`, JSON.stringify([...this.#images.values()]), { mode: 0o600 });
      renameSync(`${path}.new`, path);
    } catch (error) {
      log.warn('which images were pulled could not be written down', { error: (error as Error).message });
    }
  }
}

/** Images of a file that is damaged are kept: they are no longer known for ours. */
function read(path: string): readonly PulledImage[] {
  try {
    return JSON.parse(readFileSync(path, 'utf8')) as readonly PulledImage[];
  } catch {
    return [];
  }
}

/** Docker's own short name. */
function plain(image: string): string {
  return image.replace(/^docker\.io\//, '').replace(/^library\//, '');
}

const PERCENT = 100;

/** As df(1) has it: blocks that only root may use count as used. */
function fullnessOf(folder: string): number {
  const { bavail, blocks } = statfsSync(folder);
  return PERCENT * (1 - bavail / blocks);
}
