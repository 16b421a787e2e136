import type { Body, GpuSample, Heartbeat, LogStream } from '../messages.js';
import { whole } from './amounts.js';
import * as field from './fields.js';
import { type WireFrame, type WireGpuSample, type WireHeartbeat, type WireStream, wire } from './generated.js';
import { preparationFromWire, preparationToWire } from './preparation.js';

export function heartbeatToWire(heartbeat: Heartbeat): WireHeartbeat {
  return {
    cpuUsedMillis: whole(heartbeat.cpuUsedMillis),
    memoryUsedMib: whole(heartbeat.memoryUsedMiB),
    diskFreeMib: whole(heartbeat.diskFreeMiB),
    sentAt: whole(heartbeat.sentAt),
    loadHundredths: whole(heartbeat.load * LOAD_SCALE),
    gpus: heartbeat.gpus?.map(gpuSampleToWire) ?? [],
    preparing: heartbeat.preparing?.map(preparationToWire) ?? [],
  };
}

function gpuSampleToWire({ index, utilizationPercent, memoryUsedMiB, temperatureC, powerWatts }: GpuSample) {
  return {
    index,
    ...(utilizationPercent === undefined ? {} : { utilizationPercent: whole(utilizationPercent) }),
    ...(memoryUsedMiB === undefined ? {} : { memoryUsedMib: whole(memoryUsedMiB) }),
    ...(temperatureC === undefined ? {} : { temperatureC: whole(temperatureC) }),
    ...(powerWatts === undefined ? {} : { powerWatts: whole(powerWatts) }),
  };
}

function gpuSampleFromWire(sample: WireGpuSample, where: string): GpuSample {
  const known = (name: string, value: number | null | undefined, as: string): Record<string, number> =>
    value === null || value === undefined ? {} : { [as]: field.count(value, `${where}.${name}`) };
  return {
    index: field.count(sample.index, `${where}.index`),
    ...known('utilizationPercent', sample.utilizationPercent, 'utilizationPercent'),
    ...known('memoryUsedMib', sample.memoryUsedMib, 'memoryUsedMiB'),
    ...known('temperatureC', sample.temperatureC, 'temperatureC'),
    ...known('powerWatts', sample.powerWatts, 'powerWatts'),
  };
}

function heartbeatFromWire(heartbeat: WireHeartbeat): Heartbeat {
  const { cpuUsedMillis, memoryUsedMib, diskFreeMib, sentAt, loadHundredths, gpus } = heartbeat;
  const preparing = field.each(heartbeat.preparing, preparationFromWire, 'heartbeat.preparing').flat();
  return {
    cpuUsedMillis: field.count(cpuUsedMillis, 'heartbeat.cpuUsedMillis'),
    memoryUsedMiB: field.count(memoryUsedMib, 'heartbeat.memoryUsedMib'),
    diskFreeMiB: field.count(diskFreeMib, 'heartbeat.diskFreeMib'),
    sentAt: field.count(sentAt, 'heartbeat.sentAt'),
    load: field.count(loadHundredths, 'heartbeat.loadHundredths') / LOAD_SCALE,
    ...(gpus?.length ? { gpus: field.each(gpus, gpuSampleFromWire, 'heartbeat.gpus') } : {}),
    ...(preparing.length > 0 ? { preparing } : {}),
  };
}

/** Bodies outside the sequence that carry measurements and output. */
export function sampleFromWire(frame: WireFrame): Body {
  if (frame.heartbeat) return { kind: 'heartbeat', heartbeat: heartbeatFromWire(frame.heartbeat) };
  if (frame.logChunk) {
    const { bytes, last, ageMs, missingBytes } = frame.logChunk;
    return {
      kind: 'log-chunk',
      chunk: {
        ...positionFromWire(frame.logChunk, 'logChunk'),
        bytes: bytes ?? new Uint8Array(0),
        last: last ?? false,
        ...(ageMs ? { ageMs: field.count(ageMs, 'logChunk.ageMs') } : {}),
        ...(missingBytes ? { missingBytes: field.count(missingBytes, 'logChunk.missingBytes') } : {}),
      },
    };
  }
  if (frame.logAck) {
    return {
      kind: 'log-ack',
      ack: { ...positionFromWire(frame.logAck, 'logAck'), complete: frame.logAck.complete ?? false },
    };
  }
  return { kind: 'nothing' };
}

interface WirePosition {
  readonly allocationId?: string | null;
  readonly stream?: WireStream | null;
  readonly offset?: number | null;
}

/** The part that a piece of output and its acknowledgement have in common: which stream, and where in it. */
function positionFromWire(position: WirePosition, where: string) {
  const stream = STREAM_FROM_WIRE.get(position.stream ?? 0);
  if (stream === undefined) throw field.violation(`${where}.stream`, 'is neither stdout nor stderr');
  return {
    allocationId: field.allocationId(position.allocationId, `${where}.allocationId`),
    stream,
    offset: field.count(position.offset, `${where}.offset`),
  };
}

export const STREAM_TO_WIRE: Readonly<Record<LogStream, WireStream>> = {
  stdout: wire.Stream.STDOUT,
  stderr: wire.Stream.STDERR,
};

const STREAM_FROM_WIRE: ReadonlyMap<number, LogStream> = new Map([
  [wire.Stream.STDOUT, 'stdout'],
  [wire.Stream.STDERR, 'stderr'],
]);

const LOAD_SCALE = 100;
