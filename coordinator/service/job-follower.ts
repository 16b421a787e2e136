import type { Cancel } from '../../shared/clock.js';
import {
  type AllocationId,
  type AllocationRef,
  allocationIdOf,
  type JobId,
  parseAllocationId,
} from '../../shared/ids.js';
import type { BerthEvent } from '../model/events.js';
import { Latch, RECHECK_MS, raiseOnAbort } from './latch.js';
import { isSettled } from './log-fate.js';
import { gapsOf, type LogRecord, STREAMS, Tail } from './log-record.js';
import type { LogView } from './log-view.js';
import { type NewestAttempt, placedTasks } from './placed-tasks.js';
import type { Service } from './service.js';

interface OpenTail {
  readonly tail: Tail;
  readonly cancels: readonly Cancel[];
  isEnded: boolean;
  newsAt: number;
}

/** What of which job is asked for. */
export interface Wanted {
  readonly jobId: JobId;
  readonly wanted: LogView;
  readonly signal: AbortSignal;
}

/** The attempt whose output is wanted of a task; undefined when none is. */
export function attemptOf(newest: NewestAttempt, { attempt, wants }: LogView): NewestAttempt | undefined {
  if (!wants(newest)) return undefined;
  if (attempt === undefined || attempt === newest.attempt) return newest;
  return attempt < newest.attempt ? { ...newest, attempt, isEnded: true } : undefined;
}

/** Everything that may still write, and what of it has news. Holds the attempts that live or are not yet settled. */
export class JobFollower {
  readonly #service: Service;
  readonly #jobId: JobId;
  readonly #wanted: LogView;
  readonly #signal: AbortSignal;
  readonly #latch = new Latch();
  readonly #open = new Map<AllocationId, OpenTail>();
  readonly #news = new Set<AllocationId>();
  readonly #cancels: readonly Cancel[];
  #isFinished = false;

  constructor(service: Service, { jobId, wanted, signal }: Wanted) {
    this.#service = service;
    this.#jobId = jobId;
    this.#wanted = wanted;
    this.#signal = signal;
    this.#cancels = [service.watch.on(jobId, (event) => this.#see(event)), raiseOnAbort(this.#latch, signal)];
  }

  close(): void {
    for (const cancel of this.#cancels) cancel();
    for (const { cancels } of this.#open.values()) for (const cancel of cancels) cancel();
    this.#open.clear();
  }

  async *records(): AsyncGenerator<LogRecord> {
    // One that is not in memory any more has finished.
    const isActive = await this.#service.engine.read(
      (view) => (view.jobs.get(this.#jobId)?.phase.kind ?? 'finished') !== 'finished',
    );
    if (!isActive) this.#isFinished = true;
    yield* this.#history();
    while (!this.#signal.aborted) {
      const [id] = this.#news;
      if (id !== undefined) {
        this.#news.delete(id);
        yield* this.#passOn(id);
      } else if (this.#isFinished && this.#open.size === 0) {
        return;
      } else {
        const woken = await this.#latch.waitAtMost(this.#service.clock, RECHECK_MS);
        if (woken === 'by-time') this.#lookAtEnded();
      }
    }
  }

  async *#history(): AsyncGenerator<LogRecord> {
    for await (const newest of placedTasks(this.#service, this.#jobId)) {
      const ref = attemptOf(newest, this.#wanted);
      if (ref === undefined) continue;
      const id = allocationIdOf(ref);
      // One that began meanwhile is open already.
      const opened = this.#open.get(id) ?? this.#add(ref, this.#wanted);
      opened.isEnded = opened.isEnded || ref.isEnded;
      this.#news.delete(id);
      yield* this.#passOn(id);
      if (this.#signal.aborted) return;
    }
  }

  async *#passOn(id: AllocationId): AsyncGenerator<LogRecord> {
    const opened = this.#open.get(id);
    if (!opened) return;
    // Asked before the last look: what had arrived by then is seen by it.
    const isLast = opened.isEnded && (await this.#isSettled(opened));
    for await (const record of opened.tail.drain(this.#service.logs, this.#signal)) {
      opened.newsAt = this.#service.clock.monotonic();
      yield record;
    }
    if (!isLast) return;
    yield* gapsOf(this.#service, opened.tail.ref, this.#wanted);
    for (const cancel of opened.cancels) cancel();
    this.#open.delete(id);
  }

  async #isSettled({ tail, newsAt }: OpenTail): Promise<boolean> {
    const quietMs = this.#service.clock.monotonic() - newsAt;
    for (const stream of STREAMS) {
      if (!(await isSettled(this.#service, { ref: tail.ref, stream }, quietMs))) return false;
    }
    return true;
  }

  #add(ref: AllocationRef, view: LogView): OpenTail {
    const id = allocationIdOf(ref);
    const note = (): void => this.#note(id);
    const cancels = STREAMS.map((stream) => this.#service.logs.watch(ref, stream, note));
    const opened = { tail: new Tail(ref, view), cancels, isEnded: false, newsAt: this.#service.clock.monotonic() };
    this.#open.set(id, opened);
    return opened;
  }

  #note(id: AllocationId): void {
    this.#news.add(id);
    this.#latch.raise();
  }

  #see(event: BerthEvent): void {
    if (event.type === 'allocation.committed') this.#openFor(event.allocationId);
    else if (event.type === 'allocation.ended') {
      // Also one that began before this follower and that the history has not reached yet: its end is told only once.
      const opened = this.#openFor(event.allocationId);
      if (opened) opened.isEnded = true;
      this.#note(event.allocationId);
    } else if (event.type === 'job.finished') {
      this.#isFinished = true;
      this.#latch.raise();
    }
  }

  #openFor(id: AllocationId): OpenTail | undefined {
    const ref = parseAllocationId(id);
    const isWanted = ref !== undefined && attemptOf({ ...ref, isEnded: false }, this.#wanted)?.attempt === ref.attempt;
    // One that begins now has no old lines to be left out.
    return this.#open.get(id) ?? (isWanted ? this.#add(ref, { ...this.#wanted, tail: undefined }) : undefined);
  }

  /** Nothing tells when a node is given up, so what waits for one is looked at again now and then. */
  #lookAtEnded(): void {
    for (const [id, { isEnded }] of this.#open) if (isEnded) this.#news.add(id);
  }
}
