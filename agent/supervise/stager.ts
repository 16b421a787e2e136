import type { Clock } from '../../shared/clock.js';
import { messageOf } from '../../shared/errors.js';
import type { AllocationEnd } from '../../shared/outcome.js';
import type { StagingRecord, StartOrder } from '../../shared/wire/messages.js';
import type { PreparedOrder } from '../driver/driver.js';
import { needsStaging, type StagedOut, type Staging } from '../staging/staging.js';

/** The staging of one attempt: one way at a time, which a stop cuts off. */
export class Stager {
  /** How long each way took, as far as this process saw it. */
  readonly times: { stagedInMs?: number; stagedOutMs?: number } = {};
  readonly #staging: Staging;
  readonly #clock: Clock;
  readonly #order: StartOrder;
  #transfer: AbortController | undefined;

  constructor(staging: Staging, clock: Clock, order: StartOrder) {
    this.#staging = staging;
    this.#clock = clock;
    this.#order = order;
  }

  get isBusy(): boolean {
    return this.#transfer !== undefined;
  }

  get workspace(): string {
    return this.#staging.workspaceOf(this.#order.allocationId);
  }

  /** `granted` is the order with what is not on disk: the values of its secrets. */
  in(granted: StartOrder): Promise<PreparedOrder> {
    return this.#run('stagedInMs', (signal) => this.#staging.stageIn(granted, signal));
  }

  out(): Promise<StagedOut> {
    return this.#run('stagedOutMs', (signal) => this.#staging.stageOut(this.#order, signal));
  }

  /** What is under way rejects. */
  abort(): void {
    this.#transfer?.abort();
  }

  async #run<T>(time: keyof Stager['times'], way: (signal: AbortSignal) => Promise<T>): Promise<T> {
    const beganAt = this.#clock.monotonic();
    const transfer = new AbortController();
    this.#transfer = transfer;
    try {
      return await way(transfer.signal);
    } finally {
      this.#transfer = undefined;
      this.times[time] = Math.round(this.#clock.monotonic() - beganAt);
    }
  }
}

/** Undefined for an attempt that stages nothing. */
export function stagerFor(
  order: StartOrder | null,
  { staging, clock }: { readonly staging?: Staging; readonly clock: Clock },
): Stager | undefined {
  return order !== null && staging && needsStaging(order) ? new Stager(staging, clock, order) : undefined;
}

/** Ends after which there may be files to keep: of the command, in its own time or out of it. */
export function leavesFiles(end: AllocationEnd): boolean {
  return end.kind === 'exited' || end.kind === 'signaled' || (end.kind === 'stopped' && end.reason === 'time-limit');
}

interface StagedEnd {
  readonly end: AllocationEnd;
  readonly staging?: StagingRecord;
}

/**
 * Keeps what an ended command left; tells how the attempt ended by that. Never rejects.
 *
 * @param cutOffEnd  asked when it failed: the end of an attempt that was stopped meanwhile, else undefined
 */
export async function keepOutputs(
  stager: Stager,
  end: AllocationEnd,
  cutOffEnd: () => AllocationEnd | undefined,
): Promise<StagedEnd> {
  try {
    return afterStaging(end, await stager.out());
  } catch (error) {
    const cutOff = cutOffEnd();
    return cutOff === undefined ? afterFailedStaging(end, error) : { end: cutOff };
  }
}

const MAX_NOTE_LENGTH = 1_000;

/** A command that failed by itself has its own end; one that succeeded fails with its outputs. */
function afterStaging(end: AllocationEnd, { record, failure }: StagedOut): StagedEnd {
  const isEmpty = record.inputs.length + record.outputs.length === 0 && record.note === undefined;
  return { end: failure === null ? end : withFailure(end, failure), ...(isEmpty ? {} : { staging: record }) };
}

function afterFailedStaging(end: AllocationEnd, error: unknown): StagedEnd {
  const note = `its outputs could not be kept: ${messageOf(error)}`.slice(0, MAX_NOTE_LENGTH);
  return { end: withFailure(end, note), staging: { inputs: [], outputs: [], note } };
}

function withFailure(end: AllocationEnd, message: string): AllocationEnd {
  if (end.kind !== 'exited' || end.exitCode !== 0) return end;
  return { kind: 'outputs-failed', message, ranMs: end.ranMs };
}
