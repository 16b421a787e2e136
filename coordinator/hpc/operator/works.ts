import type { AllocationId } from '../../../shared/ids.js';
import type { Member, RemoteWork } from './remote-work.js';

/** The remote jobs of a site, found by their attempts, in the order in which their output is to be looked at. */
export class Works {
  readonly #byTag = new Map<string, RemoteWork>();
  readonly #byAllocation = new Map<AllocationId, RemoteWork>();

  get size(): number {
    return this.#byTag.size;
  }

  add(work: RemoteWork): void {
    this.#byTag.set(work.submission.tag, work);
    for (const { allocationId } of work.members.values()) this.#byAllocation.set(allocationId, work);
  }

  values(): Iterable<RemoteWork> {
    return this.#byTag.values();
  }

  find(allocationId: AllocationId): { readonly work: RemoteWork; readonly member: Member } | undefined {
    const work = this.#byAllocation.get(allocationId);
    for (const member of work?.members.values() ?? [])
      if (work && member.allocationId === allocationId) return { work, member };
    return undefined;
  }

  /** The end of an attempt has been told. False once its job has no other. */
  removeMember(work: RemoteWork, { index, allocationId }: Member): boolean {
    work.members.delete(index);
    this.#byAllocation.delete(allocationId);
    if (work.members.size === 0) this.#byTag.delete(work.submission.tag);
    return work.members.size > 0;
  }

  /** It has had its turn: all others come before it. */
  moveBack(work: RemoteWork): void {
    this.#byTag.delete(work.submission.tag);
    this.#byTag.set(work.submission.tag, work);
  }
}
