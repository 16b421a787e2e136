import { mkdtempSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import t from 'tap';
import { OutputWriter } from '../../agent/driver/docker/output-writer.js';
import { Spool } from '../../agent/driver/docker/spool.js';
import { systemClock } from '../../shared/clock.js';
import type { AllocationId } from '../../shared/ids.js';
import { silentLog } from '../../shared/log.js';
import { temporaryFolder } from '../kit/temporary-folder.js';

const id = 'j1.0#1' as AllocationId;
const NOTHING = { stdoutBytes: 0, stderrBytes: 0 };

/** As Docker frames it: 1 is stdout, 2 stderr. */
function framed(stream: 1 | 2, text: string): Buffer {
  const header = Buffer.alloc(8);
  header[0] = stream;
  header.writeUInt32BE(Buffer.byteLength(text), 4);
  return Buffer.concat([header, Buffer.from(text)]);
}

/** What the files hold when these sources were drained, one after the other, each in pieces of a few bytes. */
async function afterDraining(folder: string, ...sources: readonly Buffer[]): Promise<readonly string[]> {
  const spool = new Spool(mkdtempSync(join(folder, 'spool-')));
  const writer = new OutputWriter(spool, id, { clock: systemClock, log: silentLog });
  for (const source of sources) {
    const pieces = Array.from({ length: Math.ceil(source.length / 5) }, (_, at) => source.subarray(5 * at, 5 * at + 5));
    await writer.drain(Readable.from(pieces), NOTHING);
  }
  writer.close();
  return (['stdout', 'stderr'] as const).map((stream) => readFileSync(spool.output(id, stream), 'utf8'));
}

t.test('what Docker sends again is on file once', async (t) => {
  const folder = temporaryFolder(t);
  const first = Buffer.concat([framed(1, 'one\ntwo\n'), framed(2, 'oh\n')]);
  const whole = Buffer.concat([framed(1, 'one\n'), framed(2, 'oh\n'), framed(1, 'two\nthree\n'), framed(2, 'no\n')]);
  t.strictSame(await afterDraining(folder, first, whole), ['one\ntwo\nthree\n', 'oh\nno\n']);
  t.strictSame(await afterDraining(folder, whole, whole), ['one\ntwo\nthree\n', 'oh\nno\n']);
  t.strictSame(await afterDraining(folder, first.subarray(0, 13), whole), ['one\ntwo\nthree\n', 'oh\nno\n']);
});

t.test('what a dying daemon sent and did not copy costs nothing that follows', async (t) => {
  const folder = temporaryFolder(t);
  t.strictSame(await afterDraining(folder, framed(1, 'begun\n'), framed(1, 'done\n')), ['begun\ndone\n', '']);
  const copy = Buffer.concat([framed(1, 'a\n'), framed(1, 'd\n')]);
  t.strictSame(await afterDraining(folder, framed(1, 'a\nb\nc\n'), copy), ['a\nb\nc\nd\n', '']);
});
