import protobuf from 'protobufjs/minimal.js';
import { assertNever } from '../assert.js';
import { isAppError } from '../errors.js';
import * as field from './codec/fields.js';
import { type WireFrame, wire } from './codec/generated.js';
import { helloFromWire, helloToWire, inventoryFromWire, inventoryToWire } from './codec/hello.js';
import { ordersFromWire, ordersToWire, syncFromWire, syncToWire } from './codec/orders.js';
import { reportFromWire, reportToWire } from './codec/reports.js';
import { heartbeatToWire, STREAM_TO_WIRE, sampleFromWire } from './codec/samples.js';
import type { Body, Frame } from './messages.js';

/** The bytes of one frame. Milliseconds and amounts travel as whole numbers. Cost: O(size). */
export function encodeFrame(frame: Frame): Uint8Array {
  return wire.Frame.encode({ seq: frame.seq, ack: frame.ack, ...bodyToWire(frame.body) }).finish();
}

/**
 * Reads one frame. Byte strings in it are views of `bytes`, not copies.
 *
 * Fields that this version does not know are skipped, and a body of an unknown kind becomes `nothing` with its place
 * in the sequence, so that what a newer peer adds is acknowledged and has no effect.
 * Throws: `protocol-violation`, naming what is wrong.
 */
export function decodeFrame(bytes: Uint8Array): Frame {
  try {
    const reader = protobuf.Reader.create(bytes);
    reader.discardUnknown = true;
    const frame = wire.Frame.decode(reader);
    return { seq: field.count(frame.seq, 'seq'), ack: field.count(frame.ack, 'ack'), body: bodyFromWire(frame) };
  } catch (error) {
    if (isAppError(error)) throw error;
    throw field.violation('frame', 'is no protobuf message of this protocol', error);
  }
}

function bodyToWire(body: Body): WireFrame {
  switch (body.kind) {
    case 'hello':
      return { hello: helloToWire(body.hello) };
    case 'welcome':
      return { welcome: body.welcome };
    case 'refuse':
      return { refuse: body.refuse };
    case 'sync':
      return { sync: syncToWire(body.sync) };
    case 'orders':
      return { orders: ordersToWire(body.orders) };
    case 'reports':
      return { reports: { reports: body.reports.map(reportToWire) } };
    case 'departing':
      return { departing: { reason: body.reason } };
    case 'inventory':
      return { inventory: inventoryToWire(body.inventory) };
    case 'closed':
      return { closed: { closing: body.closing } };
    case 'heartbeat':
      return { heartbeat: heartbeatToWire(body.heartbeat) };
    case 'log-chunk':
      return { logChunk: { ...body.chunk, stream: STREAM_TO_WIRE[body.chunk.stream] } };
    case 'log-ack':
      return { logAck: { ...body.ack, stream: STREAM_TO_WIRE[body.ack.stream] } };
    case 'nothing':
      return { nothing: {} };
    default:
      return assertNever(body, 'body');
  }
}

function bodyFromWire(frame: WireFrame): Body {
  if (frame.hello) return { kind: 'hello', hello: helloFromWire(frame.hello) };
  if (frame.welcome) {
    const { protocol, version, heartbeatMs } = frame.welcome;
    return {
      kind: 'welcome',
      welcome: {
        protocol: field.count(protocol, 'welcome.protocol'),
        version: version ?? '',
        heartbeatMs: field.count(heartbeatMs, 'welcome.heartbeatMs'),
      },
    };
  }
  if (frame.refuse) {
    const { code, message, final } = frame.refuse;
    return {
      kind: 'refuse',
      refuse: { code: field.filled(code, 'refuse.code'), message: message ?? '', final: final ?? false },
    };
  }
  if (frame.sync) return { kind: 'sync', sync: syncFromWire(frame.sync) };
  if (frame.orders) {
    return { kind: 'orders', orders: ordersFromWire(frame.orders) };
  }
  if (frame.reports) {
    return { kind: 'reports', reports: field.each(frame.reports.reports, reportFromWire, 'reports') };
  }
  if (frame.inventory) return { kind: 'inventory', inventory: inventoryFromWire(frame.inventory, 'inventory') };
  if (frame.closed) return { kind: 'closed', closing: field.count(frame.closed.closing, 'closed.closing') };
  if (frame.departing) return { kind: 'departing', reason: frame.departing.reason ?? '' };
  return sampleFromWire(frame);
}
