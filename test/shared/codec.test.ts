import fc from 'fast-check';
import protobuf from 'protobufjs/minimal.js';
import t from 'tap';
import { isAppError } from '../../shared/errors.js';
import { decodeFrame, encodeFrame } from '../../shared/wire/codec.js';
import type { Body } from '../../shared/wire/messages.js';
import { aHello } from '../kit/builders.js';
import { anOrder, BODIES, id } from '../kit/wire-samples.js';

t.test('every message comes out of the codec as it went in', async (t) => {
  for (const body of BODIES) {
    const frame = { seq: 7, ack: 2 ** 40, body };
    t.strictSame(decodeFrame(encodeFrame(frame)), frame, body.kind);
  }
});

t.test('garbage is a protocol violation, whatever it is', async (t) => {
  const whole = BODIES.map((body) => encodeFrame({ seq: 1, ack: 1, body }));
  const mutated = fc
    .tuple(fc.constantFrom(...whole), fc.nat(), fc.nat(255))
    .map(([bytes, at, value]) => bytes.slice().fill(value, at % bytes.length, (at % bytes.length) + 1));
  const isHandled = fc.property(fc.oneof(fc.uint8Array(), mutated), (bytes) => {
    try {
      const { body } = decodeFrame(bytes);
      return decodeFrame(encodeFrame({ seq: 1, ack: 1, body })).body.kind === body.kind;
    } catch (error) {
      return isAppError(error, 'protocol-violation');
    }
  });
  const { failed, counterexample } = fc.check(isHandled, { seed: 20_260_101, numRuns: 3_000 });
  t.notOk(failed, String(counterexample));
});

t.test('a violation names the field and its value', async (t) => {
  const held = (parts: object): Body => ({
    kind: 'hello',
    hello: aHello('n1', { held: [{ allocationId: id(1), phase: 'running', ageMs: 0, ...parts }] }),
  });
  const order = (parts: object): Body => ({ kind: 'orders', orders: { start: [anOrder(parts)], stop: [] } });
  const wrong: readonly (readonly [Body, RegExp])[] = [
    [{ kind: 'hello', hello: aHello('no spaces') }, /hello\.nodeName is "no spaces", not a node name/],
    [{ kind: 'hello', hello: aHello('n1', { identity: '' }) }, /hello\.identity is missing/],
    [held({ allocationId: '../../etc' }), /hello\.held\[0\]\.allocationId is "\.\.\/\.\.\/etc", not an allocation id/],
    [held({ phase: 'ended' }), /hello\.held\[0\]\.end is missing/],
    [held({ ageMs: 2 ** 60 }), /hello\.held\[0\]\.ageMs is \d+, not a count/],
    [order({ driver: 'podman' }), /orders\.start\[0\]\.driver is "podman", not one of process, docker/],
    [order({ run: { kind: 'command', argv: [] } }), /orders\.start\[0\]\.argv is missing/],
    [order({ jobId: 'job' }), /orders\.start\[0\]\.jobId is "job", not a job id/],
    [order({ taskId: 'j1.' }), /orders\.start\[0\]\.taskId is "j1\.", not a task id/],
  ];
  for (const [body, message] of wrong) {
    t.throws(() => decodeFrame(encodeFrame({ seq: 1, ack: 0, body })), { code: 'protocol-violation', message });
  }
  const unknownPhase = protobuf.Writer.create().uint32(242).fork().uint32(10).fork();
  unknownPhase.uint32(10).string('j1.0#1').uint32(16).int32(9).ldelim().ldelim();
  t.throws(() => decodeFrame(unknownPhase.finish()), { message: /reports\[0\]\.phase is 9, which is no phase/ });
});

t.test('what a newer peer adds is skipped, and keeps its place in the sequence', async (t) => {
  const known = encodeFrame({ seq: 0, ack: 3, body: { kind: 'departing', reason: 'x' } });
  const newField = protobuf.Writer.create().uint32(994).string('new field').finish();
  t.strictSame(decodeFrame(Buffer.concat([known, newField])).body, { kind: 'departing', reason: 'x' });
  const newBody = protobuf.Writer.create().uint32(8).uint64(5).uint32(402).string('a body of a later version').finish();
  t.strictSame(decodeFrame(newBody), { seq: 5, ack: 0, body: { kind: 'nothing' } });
});
