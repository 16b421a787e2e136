import { readdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { TASK_LOG_LIMITS, TaskLogs } from '../../coordinator/gateway/task-logs.js';
import type { AllocationId } from '../../shared/ids.js';
import { silentLog } from '../../shared/log.js';
import { ManualClock } from '../kit/manual-clock.js';
import { temporaryFolder } from '../kit/temporary-folder.js';
import { aChunk, anAck, ref } from '../kit/wire-samples.js';

function someLogs(t: Test, options: { readonly stateDir?: string; readonly maxStreamBytes?: number } = {}) {
  const stateDir = options.stateDir ?? temporaryFolder(t);
  const clock = new ManualClock();
  return { stateDir, clock, logs: new TaskLogs({ clock, log: silentLog, ...options, stateDir }) };
}

const textOf = async (logs: TaskLogs): Promise<string> =>
  Buffer.from(await logs.read(ref, 'stdout', 0, 1_000)).toString();

t.test('chunks in any order and number give the bytes that were written', async (t) => {
  const { logs } = someLogs(t);
  const heard: number[] = [];
  const cancel = logs.watch(ref, 'stdout', () => heard.push(1));
  t.strictSame(await logs.write(aChunk(0, 'abc')), anAck(3));
  t.strictSame(await logs.write(aChunk(5, 'xyz')), anAck(3));
  t.strictSame(await logs.write(aChunk(1, 'bcde')), anAck(5));
  t.strictSame(await logs.write(aChunk(0, 'abc')), anAck(5));
  const together = ['fg', 'hi', 'jk'].map((text, n) => logs.write(aChunk(5 + 2 * n, text)));
  t.strictSame(await Promise.all(together), [anAck(7), anAck(9), anAck(11)]);
  t.equal(await textOf(logs), 'abcdefghijk');
  t.equal(heard.length, 5);
  cancel();
  t.strictSame(await logs.write(aChunk(11, '', { last: true })), anAck(11, { complete: true }));
  t.equal(heard.length, 5);
  t.equal(await textOf(logs), 'abcdefghijk');
  t.strictSame(Buffer.from(await logs.read(ref, 'stdout', 9, 1)).toString(), 'j');
  t.equal(await logs.size(ref, 'stderr'), 0);
  t.strictSame(await logs.read(ref, 'stderr', 0, 10), new Uint8Array(0));
  await logs.close();
});

t.test('output and its completeness outlive the process, and a finished stream takes nothing more', async (t) => {
  const { stateDir, logs } = someLogs(t);
  await logs.write(aChunk(0, 'begin'));
  await logs.close();
  const { logs: second } = someLogs(t, { stateDir });
  t.equal(await second.size(ref, 'stdout'), 5);
  t.equal(await second.isComplete(ref, 'stdout'), false);
  t.strictSame(await second.write(aChunk(5, ' end', { last: true })), anAck(9, { complete: true }));
  await second.close();
  const { logs: third } = someLogs(t, { stateDir });
  t.equal(await third.isComplete(ref, 'stdout'), true);
  t.strictSame(await third.write(aChunk(9, 'more')), anAck(9, { complete: true }));
  t.equal(await textOf(third), 'begin end');
  t.strictSame(readdirSync(join(stateDir, 'logs', 'j1')), ['train.0#1.out']);
  await third.close();
});

t.test('what exceeds the limit of a stream is counted, also across restarts', async (t) => {
  const { stateDir, logs } = someLogs(t, { maxStreamBytes: 4 });
  t.strictSame(await logs.write(aChunk(0, 'abcdef')), anAck(6));
  await logs.close();
  const { logs: second } = someLogs(t, { stateDir, maxStreamBytes: 4 });
  t.strictSame(await second.write(aChunk(6, 'gh', { last: true })), anAck(8, { complete: true }));
  t.equal(await textOf(second), 'abcd');
  t.equal(await second.truncatedBytes(ref, 'stdout'), 4);
  t.strictSame(await second.write(aChunk(0, 'abcd')), anAck(8, { complete: true }));
  await second.close();
});

t.test('bytes that are gone from the node are marked with their number, also across restarts', async (t) => {
  const { stateDir, logs } = someLogs(t);
  await logs.write(aChunk(0, 'begin'));
  t.strictSame(await logs.write(aChunk(100, 'x')), anAck(5), 'not yet come is not gone');
  t.strictSame(await logs.write(aChunk(1_003, 'end', { missingBytes: 1_000 })), anAck(1_006));
  const text = 'begin\n[berth: 998 bytes are missing here, for which the node had no room]\nend';
  t.equal(await textOf(logs), text);
  t.strictSame(await logs.write(aChunk(1_003, 'end', { missingBytes: 1_000 })), anAck(1_006), 'and marked once');
  await logs.close();
  const { logs: second } = someLogs(t, { stateDir });
  t.strictSame(await second.write(aChunk(1_006, '!')), anAck(1_007));
  t.strictSame(
    await second.write(aChunk(1_010, '', { missingBytes: 4, last: true })),
    anAck(1_010, { complete: true }),
  );
  t.match(await textOf(second), `${text}!\n[berth: 3 bytes are missing here`);
  t.strictSame(await second.write(aChunk(0, 'begin')), anAck(1_010, { complete: true }));
  await second.close();
  const { logs: limited } = someLogs(t, { maxStreamBytes: 2 });
  await limited.write(aChunk(0, 'ab'));
  t.strictSame(await limited.write(aChunk(9, 'c', { missingBytes: 7 })), anAck(10));
  await limited.close();
  t.equal(await limited.truncatedBytes(ref, 'stdout'), 8, 'beyond the limit it is counted like all else');
});

t.test('a job may have less kept of its output than is kept of others, and not more', async (t) => {
  const mebibyte = 'x'.repeat(1024 ** 2);
  for (const [maxStreamBytes, limitMiB, kept] of [
    [3 * 1024 ** 2, 1, 1],
    [1024 ** 2, 9, 1],
    [3 * 1024 ** 2, undefined, 2],
  ] as const) {
    const { logs } = someLogs(t, { maxStreamBytes });
    await logs.write(aChunk(0, mebibyte), limitMiB);
    t.strictSame(await logs.write(aChunk(1024 ** 2, mebibyte), limitMiB), anAck(2 * 1024 ** 2));
    t.equal(await logs.size(ref, 'stdout'), kept * 1024 ** 2);
    await logs.close();
    t.equal(await logs.truncatedBytes(ref, 'stdout'), (2 - kept) * 1024 ** 2);
  }
});

t.test('when the disk takes nothing, the agent is asked later, and nothing is lost', async (t) => {
  const { stateDir, clock, logs } = someLogs(t);
  await logs.write(aChunk(0, 'ab'));
  await logs.close();
  rmSync(join(stateDir, 'logs', 'j1'), { recursive: true });
  writeFileSync(join(stateDir, 'logs', 'j1'), 'a file where a folder should be');
  let late: unknown;
  const writing = logs.write(aChunk(0, 'abc')).then((ack) => {
    late = ack;
  });
  // The pause is set once the write has failed.
  while (clock.nextAt() === undefined) await new Promise((resolve) => setImmediate(resolve));
  t.equal(late, undefined);
  rmSync(join(stateDir, 'logs', 'j1'));
  await clock.advance(TASK_LOG_LIMITS.retryAfterMs);
  await writing;
  t.strictSame(late, anAck(0));
  t.strictSame(await logs.write(aChunk(0, 'abc')), anAck(3));
  await logs.close();
});

t.test('more streams than files may be open are all written', async (t) => {
  const { logs, stateDir } = someLogs(t);
  const streams = Array.from({ length: TASK_LOG_LIMITS.maxOpenFiles + 40 }, (_, n) => `j2.${n}#1` as AllocationId);
  const write = (offset: number, text: string, last: boolean) =>
    Promise.all(streams.map((allocationId) => logs.write(aChunk(offset, text, { allocationId, last }))));
  await write(0, 'a', false);
  const acks = await write(1, 'b', true);
  t.ok(acks.every((ack) => ack.complete && ack.offset === 2));
  t.equal(readdirSync(join(stateDir, 'logs', 'j2')).length, streams.length);
  await logs.close();
});
