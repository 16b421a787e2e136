import { existsSync, mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { isDeepStrictEqual } from 'node:util';
import type { EpochMs } from '../../../shared/clock.js';
import { awayAttribute } from '../../../shared/driver-away.js';

export type Attributes = Readonly<Record<string, string>>;

/** What of Docker a node offers. */
export interface DockerOffer {
  readonly attributes: Attributes;
  /** Whether containers are taken: not while the daemon does not answer. */
  readonly isUp: boolean;
}

interface Known {
  /** What the daemon last said of itself. */
  readonly attributes: Attributes;
  readonly awaySince: EpochMs | null;
}

/** Keeps on file what the node's Docker offered, so that one that is away is told from one that never was. */
export class KnownEngine {
  readonly #path: string;
  #known: Known | undefined;

  constructor(path: string) {
    this.#path = path;
    if (existsSync(path)) this.#known = JSON.parse(readFileSync(path, 'utf8'));
  }

  /** @param found  what the daemon says now; undefined when it does not answer */
  offer(found: Attributes | undefined, now: EpochMs): DockerOffer | undefined {
    if (found !== undefined) {
      this.#keep({ attributes: found, awaySince: null });
      return { attributes: found, isUp: true };
    }
    if (this.#known === undefined) return undefined;
    const awaySince = this.#known.awaySince ?? now;
    this.#keep({ ...this.#known, awaySince });
    return { attributes: { ...this.#known.attributes, ...awayAttribute('docker', awaySince) }, isUp: false };
  }

  #keep(known: Known): void {
    if (isDeepStrictEqual(known, this.#known)) return;
    this.#known = known;
    mkdirSync(dirname(this.#path), { recursive: true, mode: 0o700 });
    writeFileSync(`${this.#path}.new`, JSON.stringify(known), { mode: 0o600 });
    renameSync(`${this.#path}.new`, this.#path);
  }
}
