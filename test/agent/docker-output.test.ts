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

/** As Docker frames it: 1 is stdout, 2 stderr. */
function framed(stream: 1 | 2, text: string): Buffer {
  const header = Buffer.alloc(8);
  header[0] = stream;
  header.writeUInt32BE(Buffer.byteLength(text), 4);
  return Buffer.concat([header, Buffer.from(text)]);
}

type Output = readonly [stdout: string, stderr: string];

/** A container whose agent is killed, and comes back to Docker's copy, as often as copies are given. */
async function afterReading(folder: string, attached: Buffer, ...copies: readonly Buffer[]): Promise<Output> {
  const spool = new Spool(mkdtempSync(join(folder, 'spool-')));
  const pieces = (source: Buffer) => Readable.from(inPieces(source)) as AsyncIterable<Buffer>;
  const first = new OutputWriter(spool, id, { clock: systemClock, log: silentLog });
  await first.drain(pieces(attached));
  first.close();
  for (const copy of copies) {
    const writer = new OutputWriter(spool, id, { clock: systemClock, log: silentLog });
    await writer.drainCopy(pieces(copy));
    await writer.drainCopy(pieces(copy));
    writer.close();
  }
  return [readFileSync(spool.output(id, 'stdout'), 'utf8'), readFileSync(spool.output(id, 'stderr'), 'utf8')];
}

/** Cut anywhere, as on its way. */
function inPieces(bytes: Buffer): Buffer[] {
  return Array.from({ length: Math.ceil(bytes.length / 5) }, (_, at) => bytes.subarray(5 * at, 5 * at + 5));
}

/** One record a line. */
function copyOf(...lines: readonly string[]): Buffer {
  return Buffer.concat(lines.map((line) => framed(1, line)));
}

t.test('what Docker sends again is on file once', async (t) => {
  const folder = temporaryFolder(t);
  const attached = Buffer.concat([framed(1, 'one\ntwo\n'), framed(2, 'oh\n')]);
  const copy = Buffer.concat([framed(1, 'one\n'), framed(2, 'oh\n'), copyOf('two\n', 'three\n'), framed(2, 'no\n')]);
  t.strictSame(await afterReading(folder, attached, copy), ['one\ntwo\nthree\n', 'oh\nno\n']);
  t.strictSame(await afterReading(folder, attached.subarray(0, 13), copy, copy), ['one\ntwo\nthree\n', 'oh\nno\n']);
});

t.test('what a dying daemon sent and did not copy costs nothing that follows, and doubles nothing', async (t) => {
  const folder = temporaryFolder(t);
  t.strictSame(await afterReading(folder, framed(1, 'begun\n'), copyOf('done\n')), ['begun\ndone\n', '']);
  const attached = framed(1, 'line 1\nline 2\nline 3\nli');
  const copies = [copyOf('line 1\n', 'line 4\n'), copyOf('line 1\n', 'line 4\n', 'line 5\n')];
  t.strictSame(await afterReading(folder, attached, ...copies), ['line 1\nline 2\nline 3\nliline 4\nline 5\n', '']);
});
