import type { Cancel } from '../../shared/clock.js';
import { isRefusal, type Refusal, refuse } from '../../shared/errors.js';
import type { LogStream } from '../../shared/wire/messages.js';
import { taskPhase } from '../model/state.js';
import { Latch, RECHECK_MS, raiseOnAbort } from './latch.js';
import { isSettled, type StreamRef } from './log-fate.js';
import { lookAtTask } from './look.js';
import { attemptOf } from './present-task.js';
import type { Service } from './service.js';
import { LOG_CHUNK_BYTES } from './task-logs-reader.js';
import type { TaskPlace } from './task-place.js';

export interface TaskLogRequest {
  readonly jobId: string;
  /** `7` or `train.7`. */
  readonly task: string;
  readonly stream: LogStream;
  /** The first byte wanted. */
  readonly offset: number;
  /** The newest one when absent. */
  readonly attempt?: number | undefined;
  /** `follow` goes on until the stream can have no more; `stop` ends with what has arrived. */
  readonly atEnd: 'follow' | 'stop';
  readonly signal: AbortSignal;
}

export interface OpenTaskLog {
  /** The attempt that is read, or will be once it has begun; 0 when there is none and will be none. */
  readonly attempt: number;
  readonly chunks: AsyncGenerator<Uint8Array>;
}

/** One stream of one attempt, from an offset on. The chunks stop early when the signal aborts. */
export async function openTaskLog(service: Service, request: TaskLogRequest): Promise<OpenTaskLog | Refusal> {
  const found = await lookAtTask(service, request, (_view, place) => ({ place, attempt: attemptFor(place, request) }));
  if (isRefusal(found)) return found;
  const { place, attempt } = found;
  if (isRefusal(attempt)) return attempt;
  const ref = { jobId: place.job.id, step: place.step.name, index: place.index, attempt };
  const target = { ref, stream: request.stream };
  return { attempt, chunks: attempt === 0 ? nothing() : chunksOf(service, target, request) };
}

function attemptFor({ step, index }: TaskPlace, request: TaskLogRequest): number | Refusal {
  const phase = taskPhase(step, index);
  const newest = phase ? attemptOf(phase) : 0;
  const isAwaited = phase?.kind === 'queued' || phase?.kind === 'blocked';
  const begun = isAwaited ? newest - 1 : newest;
  const last = request.atEnd === 'follow' ? newest : begun;
  if (request.attempt === undefined) return last;
  if (request.attempt >= 1 && request.attempt <= last) return request.attempt;
  return refuse('not-found', `task ${request.task} of ${request.jobId} has no attempt ${request.attempt}`, {
    hint: begun === 0 ? 'it has not begun' : `its attempts are 1 to ${begun}`,
  });
}

async function* nothing(): AsyncGenerator<Uint8Array> {}

async function* chunksOf(service: Service, target: StreamRef, request: TaskLogRequest): AsyncGenerator<Uint8Array> {
  const { logs, clock } = service;
  const latch = new Latch();
  const cancels = request.atEnd === 'follow' ? wakeOnNews(service, target, { latch, signal: request.signal }) : [];
  let offset = request.offset;
  let newsAt = clock.monotonic();
  let isLast = request.atEnd === 'stop';
  try {
    while (!request.signal.aborted) {
      const bytes = await logs.read(target.ref, target.stream, offset, LOG_CHUNK_BYTES);
      if (bytes.length > 0) {
        offset += bytes.length;
        newsAt = clock.monotonic();
        yield bytes;
        continue;
      }
      if (isLast) return;
      isLast = await isSettled(service, target, clock.monotonic() - newsAt);
      if (!isLast) await latch.waitAtMost(clock, RECHECK_MS);
    }
  } finally {
    for (const cancel of cancels) cancel();
  }
}

function wakeOnNews(
  service: Service,
  { ref, stream }: StreamRef,
  wake: { readonly latch: Latch; readonly signal: AbortSignal },
): Cancel[] {
  const raise = (): void => wake.latch.raise();
  return [
    service.logs.watch(ref, stream, raise),
    service.watch.on(ref.jobId, raise),
    raiseOnAbort(wake.latch, wake.signal),
  ];
}
