import type { RunSpec } from '../../job-spec/spec.js';
import type { GpuPart, Orders, StartOrder, StopOrder, Sync } from '../messages.js';
import { gpuFromWire, gpuToWire, resourcesFromWire, resourcesToWire, whole } from './amounts.js';
import { containerFromWire, containerToWire } from './containers.js';
import * as field from './fields.js';
import type { WireOrders, WireStart, WireStop, WireSync } from './generated.js';
import { DRIVERS } from './hello.js';
import { STOP_REASONS } from './reports.js';
import { secretsFromWire, secretsToWire } from './secrets.js';
import { stagingFromWire, stagingToWire } from './staging.js';

export function syncToWire(sync: Sync): WireSync {
  return {
    keep: [...sync.keep],
    stop: [...sync.stop],
    start: sync.start.map(startToWire),
    forget: [...sync.forget],
    ...(sync.closing === undefined ? {} : { closing: sync.closing }),
  };
}

export function syncFromWire(sync: WireSync): Sync {
  return {
    keep: field.each(sync.keep, field.allocationId, 'sync.keep'),
    stop: field.each(sync.stop, stopFromWire, 'sync.stop'),
    start: field.each(sync.start, startFromWire, 'sync.start'),
    forget: field.each(sync.forget, field.allocationId, 'sync.forget'),
    ...(sync.closing ? { closing: field.count(sync.closing, 'sync.closing') } : {}),
  };
}

export function ordersToWire({ start, stop, closing }: Orders): WireOrders {
  return {
    start: start.map(startToWire),
    stop: [...stop],
    ...(closing === undefined ? {} : { intake: { closing } }),
  };
}

export function ordersFromWire({ start, stop, intake }: WireOrders): Orders {
  return {
    start: field.each(start, startFromWire, 'orders.start'),
    stop: field.each(stop, stopFromWire, 'orders.stop'),
    ...(intake ? { closing: field.count(intake.closing, 'orders.intake.closing') } : {}),
  };
}

/** One by one: to copy the rest of an order costs more than all of its encoding, and this is done for each task. */
function startToWire(order: StartOrder): WireStart {
  const { image, container, run, env, workdir, resources, gpus, gpuPart, timeLimitMs, stop, checkpoint, gang } = order;
  const { secrets, registryAuth } = order;
  return {
    allocationId: order.allocationId,
    jobId: order.jobId,
    taskId: order.taskId,
    jobName: order.jobName,
    namespace: order.namespace,
    step: order.step,
    index: order.index,
    attempt: order.attempt,
    taskCount: order.taskCount,
    driver: order.driver,
    ...(order.user === undefined ? {} : { user: order.user }),
    ...(order.pinCpus === undefined ? {} : { pinCpus: order.pinCpus }),
    ...resourcesToWire(resources),
    image: image ?? '',
    ...(container === undefined ? {} : { container: containerToWire(container) }),
    workdir: workdir ?? '',
    argv: [...(run.kind === 'command' ? run.argv : run.args)],
    script: run.kind === 'script' ? run.script : '',
    env: { ...env },
    gpus: gpus.map(gpuToWire),
    gpuShareMillis: whole(gpuPart?.shareMillis ?? 0),
    gpuMemoryMib: whole(gpuPart?.memoryMiB ?? 0),
    timeLimitMs: whole(timeLimitMs ?? 0),
    stopSignal: stop.signal,
    stopGraceMs: whole(stop.graceMs),
    checkpointSignal: checkpoint?.signal ?? '',
    checkpointGraceMs: whole(checkpoint?.graceMs ?? 0),
    gangRank: whole(gang?.rank ?? 0),
    gangSize: whole(gang?.size ?? 0),
    gangPeers: [...(gang?.peers ?? [])],
    ...secretsToWire(secrets, registryAuth),
    ...stagingToWire(order),
  };
}

function startFromWire(start: WireStart, where: string): StartOrder {
  return {
    allocationId: field.allocationId(start.allocationId, `${where}.allocationId`),
    jobId: field.jobId(start.jobId, `${where}.jobId`),
    taskId: field.taskId(start.taskId, `${where}.taskId`),
    jobName: start.jobName ?? '',
    namespace: start.namespace ?? '',
    step: field.filled(start.step, `${where}.step`),
    index: field.count(start.index, `${where}.index`),
    attempt: field.count(start.attempt, `${where}.attempt`),
    taskCount: field.count(start.taskCount, `${where}.taskCount`),
    driver: field.oneOf(start.driver, DRIVERS, `${where}.driver`),
    image: start.image || null,
    ...(start.container ? { container: containerFromWire(start.container, `${where}.container`) } : {}),
    run: runFromWire(start, where),
    env: { ...start.env },
    ...(start.user ? { user: start.user } : {}),
    workdir: start.workdir || null,
    resources: resourcesFromWire(start, where),
    ...(start.pinCpus ? { pinCpus: true } : {}),
    gpus: field.each(start.gpus, gpuFromWire, `${where}.gpus`),
    gpuPart: gpuPartFromWire(start, where),
    timeLimitMs: field.count(start.timeLimitMs, `${where}.timeLimitMs`) || null,
    stop: {
      signal: field.filled(start.stopSignal, `${where}.stopSignal`),
      graceMs: field.count(start.stopGraceMs, `${where}.stopGraceMs`),
    },
    ...checkpointFromWire(start, where),
    ...gangFromWire(start, where),
    ...secretsFromWire(start, where),
    ...stagingFromWire(start, where),
  };
}

function checkpointFromWire(start: WireStart, where: string): Pick<StartOrder, 'checkpoint'> {
  if (!start.checkpointSignal) return {};
  const graceMs = field.count(start.checkpointGraceMs, `${where}.checkpointGraceMs`);
  return { checkpoint: { signal: start.checkpointSignal, graceMs } };
}

function gangFromWire(start: WireStart, where: string): Pick<StartOrder, 'gang'> {
  const size = field.count(start.gangSize, `${where}.gangSize`);
  if (size === 0) return {};
  return { gang: { rank: field.count(start.gangRank, `${where}.gangRank`), size, peers: start.gangPeers ?? [] } };
}

function gpuPartFromWire(start: WireStart, where: string): GpuPart | null {
  const shareMillis = field.count(start.gpuShareMillis, `${where}.gpuShareMillis`);
  const memoryMiB = field.count(start.gpuMemoryMib, `${where}.gpuMemoryMib`);
  return shareMillis === 0 ? null : { shareMillis, memoryMiB };
}

function runFromWire({ script, argv }: WireStart, where: string): RunSpec {
  if (script) return { kind: 'script', script, args: argv ?? [] };
  if (!argv?.length) throw field.violation(`${where}.argv`, 'is missing: there is neither a command nor a script');
  return { kind: 'command', argv };
}

function stopFromWire(stop: WireStop, where: string): StopOrder {
  return {
    allocationId: field.allocationId(stop.allocationId, `${where}.allocationId`),
    reason: field.oneOf(stop.reason, STOP_REASONS, `${where}.reason`),
  };
}
