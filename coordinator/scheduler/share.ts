import type { Holdings } from '../model/accounts.js';

/** The largest part of the cluster in any one dimension, per weight. */
export class DominantShare {
  readonly #capacity: Holdings;
  readonly #weight: number;
  #cpuMillis = 0;
  #memoryMiB = 0;
  #gpuMillis = 0;
  value = 0;

  constructor(capacity: Holdings, weight: number) {
    this.#capacity = capacity;
    this.#weight = weight;
  }

  add({ cpuMillis, memoryMiB, gpuMillis }: Holdings): void {
    this.#cpuMillis += cpuMillis;
    this.#memoryMiB += memoryMiB;
    this.#gpuMillis += gpuMillis;
    const cpu = part(this.#cpuMillis, this.#capacity.cpuMillis);
    const memory = part(this.#memoryMiB, this.#capacity.memoryMiB);
    const gpu = part(this.#gpuMillis, this.#capacity.gpuMillis);
    this.value = Math.max(cpu, memory, gpu) / this.#weight;
  }
}

/** What the cluster does not have at all divides nobody. */
function part(amount: number, whole: number): number {
  return whole === 0 ? 0 : amount / whole;
}
