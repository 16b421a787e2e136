import type { BerthEvent } from '../../coordinator/model/events.js';
import type { Clock, EpochMs } from '../../shared/clock.js';
import { type AllocationId, type JobId, type NodeId, parseAllocationId } from '../../shared/ids.js';

/** Lines kept for the one who reads about a failure. */
const KEPT_LINES = 200;
const MAX_BROKEN = 20;

/** What happened, in order, and what ought not to have. */
export class Story {
  readonly lines: string[] = [];
  /** Claims that did not hold; a run without any is good. */
  readonly brokenClaims: string[] = [];
  readonly #clock: Clock;
  readonly #startedAt: EpochMs;
  readonly #print: ((line: string) => void) | undefined;
  readonly #canceled = new Set<JobId>();
  readonly nodesTakenAway = new Set<NodeId>();
  /** Nodes that are lost at the moment. */
  readonly #givenUp = new Set<NodeId>();
  eventCount = 0;
  /** Machines that were ordered off. */
  switchOffCount = 0;

  constructor(clock: Clock, print?: (line: string) => void) {
    this.#clock = clock;
    this.#startedAt = clock.now();
    this.#print = print;
  }

  tell(who: string, what: string): void {
    const seconds = ((this.#clock.now() - this.#startedAt) / 1000).toFixed(3).padStart(9);
    const line = `${seconds}  ${who.padEnd(12)} ${what}`;
    this.#print?.(line);
    this.lines.push(line);
    if (this.lines.length > KEPT_LINES) this.lines.shift();
  }

  /** A user was told that the job is canceled. */
  canceled(jobId: JobId): void {
    this.#canceled.add(jobId);
  }

  event(event: BerthEvent): void {
    this.eventCount += 1;
    if (event.type === 'allocation.committed') this.#checkCanceled(event.allocationId);
    if (event.type === 'instance.stopping') this.switchOffCount += 1;
    if (event.type === 'node.lost') this.#givenUp.add(event.nodeId);
    if (event.type === 'node.connected') this.#givenUp.delete(event.nodeId);
    const { type, ...rest } = event;
    this.tell(
      'event',
      `${type} ${JSON.stringify(rest, (key, value) => (key === 'spec' || key === 'inventory' ? '…' : value))}`,
    );
  }

  #checkCanceled(allocationId: AllocationId): void {
    const jobId = parseAllocationId(allocationId)?.jobId;
    if (jobId && this.#canceled.has(jobId)) this.broken(`${allocationId} is placed after its job was canceled`);
  }

  /** Somebody has taken the machine away by hand, with what is on its disk. */
  takenAway(nodeId: NodeId): void {
    this.nodesTakenAway.add(nodeId);
  }

  /** A provider was told to switch off a machine on which these commands run. */
  switchedOff(nodeId: NodeId, running: readonly AllocationId[]): void {
    const claim = `${nodeId} is switched off while ${running.join(', ')} run (P6)`;
    // Of a node that has been lost for long, what runs has been declared lost: nobody waits for it.
    if (this.#givenUp.has(nodeId)) this.takenAway(nodeId);
    else this.broken(claim);
  }

  broken(claim: string): void {
    this.tell('BROKEN', claim);
    if (this.brokenClaims.length < MAX_BROKEN) this.brokenClaims.push(claim);
  }
}
