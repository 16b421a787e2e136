import t from 'tap';
import type { Log, LogFields } from '../../shared/log.js';
import { silentLog } from '../../shared/log.js';
import { seededRandom } from '../../shared/random.js';
import { type Channel, type ChannelListener, CLOSE } from '../../shared/wire/channel.js';
import { decodeFrame, encodeFrame } from '../../shared/wire/codec.js';
import { WIRE_LIMITS } from '../../shared/wire/limits.js';
import type { Body, Sync } from '../../shared/wire/messages.js';
import { Session, type SessionHandlers } from '../../shared/wire/session.js';
import { aHello } from '../kit/builders.js';
import { ManualClock } from '../kit/manual-clock.js';
import { aChunk, anAck, anOrder, id, reportOf } from '../kit/wire-samples.js';
import { SimNetwork, type Weather } from '../sim/network.js';

const LOSSY: Weather = { dropRate: 0.2, duplicateRate: 0.15, maxDelayMs: 40 };

/** Two sessions over the simulator's network, and what each was told. */
function twoEnds(options: { readonly seed?: number; readonly weather?: Weather; readonly log?: Log } = {}) {
  const clock = new ManualClock();
  const network = new SimNetwork(clock, seededRandom(options.seed ?? 1));
  if (options.weather) network.weather = options.weather;
  const ends = network.connect('n1');
  if (!ends) throw new Error('not connected');
  const left = new End(ends.agentEnd, clock, options.log);
  const right = new End(ends.coordinatorEnd, clock, options.log);
  return { clock, network, left, right, channel: ends.agentEnd };
}

class End {
  readonly session: Session;
  readonly messages: Body[] = [];
  readonly closes: { readonly code: number; readonly reason: string }[] = [];
  roomCount = 0;
  /** What becomes of the next messages. */
  take: (body: Body) => Promise<void> | void = () => {};

  constructor(channel: Channel, clock: ManualClock, log: Log = silentLog) {
    const handlers: SessionHandlers = {
      message: (body) => {
        this.messages.push(body);
        return this.take(body);
      },
      closed: (code, reason) => void this.closes.push({ code, reason }),
      logRoom: () => {
        this.roomCount += 1;
      },
    };
    this.session = new Session(channel, handlers, { clock, log });
  }

  get reasons(): readonly string[] {
    return this.messages.flatMap((body) => (body.kind === 'departing' ? [body.reason] : []));
  }
}

const departing = (reason: string): Body => ({ kind: 'departing', reason });
const numbered = (count: number): string[] => Array.from({ length: count }, (_, number) => String(number));

t.test('whatever the network does, each side gets every sequenced message once and in order', async (t) => {
  for (let seed = 1; seed <= 12; seed += 1) {
    const { clock, left, right } = twoEnds({ seed, weather: LOSSY });
    const random = seededRandom(seed);
    right.take = () => new Promise((resolve) => clock.after(random.next() * 100, resolve));
    const acknowledged: string[] = [];
    for (const reason of numbered(25)) {
      left.session.send(departing(reason), () => acknowledged.push(reason));
      right.session.send(departing(reason));
      await clock.advance(random.next() * 30);
    }
    const isDone = (): boolean => acknowledged.length === 25 && left.reasons.length === 25;
    for (let round = 0; round < 200 && !isDone(); round += 1) await clock.advance(5_000);
    t.strictSame(right.reasons, numbered(25), `seed ${seed}, to the right`);
    t.strictSame(left.reasons, numbered(25), `seed ${seed}, to the left`);
    t.strictSame(acknowledged, numbered(25), `seed ${seed}, acknowledged`);
  }
});

t.test('a message is acknowledged only when it and all before it have been taken over', async (t) => {
  const { clock, left, right } = twoEnds();
  const finish = new Map<string, () => void>();
  right.take = (body) => new Promise((resolve) => body.kind === 'departing' && finish.set(body.reason, resolve));
  const acknowledged: string[] = [];
  for (const reason of ['0', '1']) {
    left.session.send(departing(reason), () => acknowledged.push(reason));
    await clock.advance(100);
  }
  finish.get('1')?.();
  await clock.advance(1_000);
  t.strictSame(acknowledged, []);
  finish.get('0')?.();
  await clock.advance(1_000);
  t.strictSame(acknowledged, ['0', '1']);
});

t.test('a message that cannot be taken over ends the session and is not acknowledged', async (t) => {
  const { clock, left, right } = twoEnds();
  right.take = () => Promise.reject(new Error('disk full'));
  const acknowledged: boolean[] = [];
  left.session.send(departing('x'), () => acknowledged.push(true));
  await clock.advance(1_000);
  t.strictSame(right.closes, [{ code: CLOSE.goingAway, reason: 'a departing could not be taken over' }]);
  t.equal(left.session.isOpen, false);
  t.strictSame(acknowledged, []);
});

t.test('a closed session says so once, delivers nothing more and lets go of its timers', async (t) => {
  const { clock, left, right } = twoEnds();
  left.session.send(departing('last'));
  right.session.close(CLOSE.normal, 'done');
  right.session.close(CLOSE.normal, 'again');
  await clock.advance(WIRE_LIMITS.deadAfterMs * 2);
  t.strictSame(right.closes, [{ code: CLOSE.normal, reason: 'done' }]);
  t.equal(left.closes.length, 1);
  t.strictSame(right.messages, []);
  t.equal(left.session.sendLog(aChunk(0, 'x')), false);
  t.equal(clock.nextAt(), undefined);
});

t.test('garbage ends the session, which is logged once', async (t) => {
  const warnings: LogFields[] = [];
  const log = { ...silentLog, warn: (_: string, fields: LogFields = {}) => void warnings.push(fields) };
  const { clock, right, channel } = twoEnds({ log });
  await clock.settle();
  channel.send(Buffer.from('GET / HTTP/1.1\r\n\r\n'));
  channel.send(Buffer.from('GET / HTTP/1.1\r\n\r\n'));
  await clock.advance(100);
  t.match(right.closes, [{ code: CLOSE.protocolViolation, reason: /frame is no protobuf message/ }]);
  t.equal(warnings.length, 1);
});

t.test('a frame out of its lane, or an acknowledgement of what was never sent, is a violation', async (t) => {
  const wrong: readonly (readonly [number, number, Body, RegExp])[] = [
    [0, 0, departing('x'), /outside the sequence/],
    [1, 0, { kind: 'hello', hello: aHello('n1') }, /inside the sequence/],
    [0, 1, { kind: 'nothing' }, /frame 1 was never sent/],
  ];
  for (const [seq, ack, body, reason] of wrong) {
    const { clock, right, channel } = twoEnds();
    channel.send(encodeFrame({ seq, ack, body }));
    await clock.advance(100);
    t.match(right.closes, [{ code: CLOSE.protocolViolation, reason }]);
  }
});

t.test('a sequenced message of an unknown kind is acknowledged and skipped', async (t) => {
  const clock = new ManualClock();
  const wire = new TestChannel();
  const end = new End(wire, clock);
  await clock.settle();
  wire.listener?.message(encodeFrame({ seq: 1, ack: 0, body: { kind: 'nothing' } }));
  wire.listener?.message(encodeFrame({ seq: 2, ack: 0, body: departing('after it') }));
  await clock.advance(WIRE_LIMITS.ackDelayMs);
  t.strictSame(end.reasons, ['after it']);
  t.strictSame(wire.sent.map(decodeFrame), [{ seq: 0, ack: 2, body: { kind: 'nothing' } }]);
});

t.test('an oversized message closes the session at either end', async (t) => {
  const tooLong = 'x'.repeat(WIRE_LIMITS.maxFrameBytes);
  const { clock, left } = twoEnds();
  left.session.send(departing(tooLong));
  t.equal(left.closes[0]?.code, CLOSE.tooBig);
  const other = twoEnds();
  other.channel.send(encodeFrame({ seq: 1, ack: 0, body: departing(tooLong) }));
  await other.clock.advance(100);
  t.equal(other.right.closes[0]?.code, CLOSE.tooBig);
  await clock.settle();
});

t.test('a sync of 100,000 allocations travels in frames of a good size and loses nothing', async (t) => {
  const { clock, left, right } = twoEnds({ weather: { dropRate: 0, duplicateRate: 0, maxDelayMs: 1 } });
  const start = Array.from({ length: 50_000 }, (_, attempt) => anOrder({ allocationId: id(attempt) }));
  const keep = Array.from({ length: 50_000 }, (_, attempt) => id(100_000 + attempt));
  left.session.send({ kind: 'sync', sync: { keep, stop: [], start, forget: [] } });
  await clock.advance(1_000);
  const [first, ...rest] = right.messages;
  const started = rest.flatMap((body) => (body.kind === 'orders' ? body.orders.start : []));
  t.strictSame(first, { kind: 'sync', sync: { keep, stop: [], start: [], forget: [] } satisfies Sync });
  t.strictSame(
    started.map((order) => order.allocationId),
    start.map((order) => order.allocationId),
  );
  t.equal(left.session.isOpen, true);
});

t.test('long lists of reports and orders are split, and acknowledged as one', async (t) => {
  const { clock, left, right } = twoEnds({ weather: { dropRate: 0, duplicateRate: 0, maxDelayMs: 1 } });
  const long = 'm'.repeat(1_000);
  const reports = Array.from({ length: 1_000 }, (_, n) => reportOf({ kind: 'lost', message: long }, n));
  const stop = Array.from({ length: 20_000 }, (_, n) => ({ allocationId: id(n), reason: 'canceled' as const }));
  let acknowledgedCount = 0;
  left.session.send({ kind: 'reports', reports }, () => {
    acknowledgedCount += 1;
  });
  left.session.send({ kind: 'orders', orders: { start: [anOrder()], stop } });
  await clock.advance(1_000);
  t.strictSame(
    right.messages.flatMap((body) => (body.kind === 'reports' ? body.reports : [])),
    reports,
  );
  t.strictSame(
    right.messages.flatMap((body) => (body.kind === 'orders' ? body.orders.stop : [])),
    stop,
  );
  t.ok(right.messages.length > 5);
  t.equal(acknowledgedCount, 1);
});

t.test('a peer that acknowledges nothing is cut off when the window is full', async (t) => {
  const end = new End(new TestChannel(), new ManualClock());
  for (let count = 0; count <= WIRE_LIMITS.maxUnackedFrames; count += 1) end.session.send(departing('x'));
  t.equal(end.closes[0]?.code, CLOSE.overflow);
});

t.test('unacknowledged frames are sent again only when nothing of them is left in the socket', async (t) => {
  const clock = new ManualClock();
  const wire = new TestChannel();
  const end = new End(wire, clock);
  end.session.send(departing('x'));
  wire.buffered = 1;
  await clock.advance(WIRE_LIMITS.resendAfterMs);
  t.equal(wire.sent.length, 1);
  wire.buffered = 0;
  await clock.advance(WIRE_LIMITS.resendAfterMs);
  t.equal(wire.sent.length, 2);
});

t.test('a silent peer is given up, and one that only answers pings is not', async (t) => {
  const { clock, network, left, right } = twoEnds();
  await clock.advance(WIRE_LIMITS.deadAfterMs * 3);
  t.ok(left.session.isOpen && right.session.isOpen);
  network.cut('n1');
  await clock.advance(WIRE_LIMITS.deadAfterMs + WIRE_LIMITS.pingEveryMs);
  t.strictSame(left.closes, [{ code: CLOSE.silent, reason: 'no sign of life' }]);
});

t.test('a probe tells a live peer from a dead one and from a closed session', async (t) => {
  const { clock, network, left } = twoEnds();
  await clock.settle();
  const alive = left.session.probe(5_000);
  await clock.advance(100);
  t.equal(await alive, true);
  network.cut('n1');
  const dead = left.session.probe(5_000);
  await clock.advance(5_000);
  t.equal(await dead, false);
  const closing = left.session.probe(5_000);
  left.session.close(CLOSE.normal, 'done');
  t.equal(await closing, false);
});

/** A channel whose other end is the test. */
class TestChannel implements Channel {
  readonly sent: Uint8Array[] = [];
  listener: ChannelListener | undefined;
  buffered = 0;

  send(bytes: Uint8Array): void {
    this.sent.push(bytes);
  }
  ping(): void {}
  close(): void {}
  bufferedBytes(): number {
    return this.buffered;
  }
  listen(listener: ChannelListener): void {
    this.listener = listener;
  }
}

const PIECE = 'x'.repeat(WIRE_LIMITS.logChunkBytes);

/** Offers output until there is no room; the position reached. */
function fill(end: End, from = 0): number {
  let offset = from;
  while (end.session.sendLog(aChunk(offset, PIECE))) offset += PIECE.length;
  return offset;
}

t.test('output fills its window and no more, so that an order overtakes what waits', async (t) => {
  const wire = new TestChannel();
  const end = new End(wire, new ManualClock());
  fill(end);
  end.session.send(departing('urgent'));
  const kinds = wire.sent.map((bytes) => decodeFrame(bytes).body.kind);
  t.equal(kinds.at(-1), 'departing');
  const ahead = wire.sent.slice(0, -1).reduce((sum, bytes) => sum + bytes.length, 0);
  t.ok(ahead < WIRE_LIMITS.logWindowBytes + WIRE_LIMITS.logChunkBytes, `${ahead} bytes are ahead of it`);
});

t.test('room for output comes back with acknowledgements, also with one that asks to go back', async (t) => {
  const clock = new ManualClock();
  const wire = new TestChannel();
  const end = new End(wire, clock);
  await clock.settle();
  const ack = (offset: number): void =>
    wire.listener?.message(encodeFrame({ seq: 0, ack: 0, body: { kind: 'log-ack', ack: anAck(offset) } }));
  const reached = fill(end);
  t.equal(end.roomCount, 0);
  ack(PIECE.length);
  t.equal(end.roomCount, 1);
  t.equal(fill(end, reached), reached + PIECE.length);
  ack(PIECE.length);
  t.equal(end.roomCount, 2);
  t.equal(fill(end, PIECE.length) - PIECE.length, reached);
});

t.test('output waits for a full socket, and goes on when no answer comes for long', async (t) => {
  const clock = new ManualClock();
  const wire = new TestChannel();
  const end = new End(wire, clock);
  wire.buffered = WIRE_LIMITS.logChunkBytes + 1;
  t.equal(end.session.sendLog(aChunk(0, 'x')), false);
  wire.buffered = 0;
  await clock.advance(1_000);
  t.equal(end.roomCount, 1);
  fill(end);
  await clock.advance(WIRE_LIMITS.resendAfterMs - 1);
  t.equal(end.roomCount, 1);
  await clock.advance(1);
  t.equal(end.roomCount, 2);
  t.ok(end.session.sendLog(aChunk(0, PIECE)));
});
