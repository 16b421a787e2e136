import { existsSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { spoolFiles } from '../../agent/store/spool-files.js';
import { OutputSpool, type SpooledStream } from '../../agent/supervise/output-spool.js';
import type { SpoolDisk } from '../../agent/supervise/spool-disk.js';
import { systemClock } from '../../shared/clock.js';
import type { AllocationId } from '../../shared/ids.js';
import { silentLog } from '../../shared/log.js';
import { temporaryFolder } from '../kit/temporary-folder.js';

const MIB = 1024 ** 2;
const ENDLESS = Number.POSITIVE_INFINITY;

/** Output files of so many MiB, of each of which the coordinator has so many. */
function someOutput(t: Test, sizes: readonly (readonly [number, number])[]) {
  const stateDir = temporaryFolder(t);
  const streams = sizes.map(([sizeMiB, ackedMiB], index): SpooledStream => {
    const path = join(stateDir, `${index}.out`);
    writeFileSync(path, Buffer.alloc(sizeMiB * MIB, 'x'));
    return { id: `j${index}.0#1` as AllocationId, stream: 'stdout', path, ackedBytes: ackedMiB * MIB };
  });
  const warnings: unknown[] = [];
  const log = { ...silentLog, warn: (_: string, fields: unknown) => warnings.push(fields) };
  const files = spoolFiles({ stateDir, highWaterPercent: 100, clock: systemClock, log });
  const open = (limitMiB: number, parts: Partial<SpoolDisk> = {}): OutputSpool => {
    const disk = { ...files, excessBytes: () => 0, ...parts };
    const spool = new OutputSpool({ disk, limitBytes: limitMiB * MIB, clock: systemClock, log }, () => streams);
    t.teardown(() => spool.stop());
    return spool;
  };
  const allocatedMiB = () => streams.map(({ path }) => (statSync(path).blocks * 512) / MIB);
  return { stateDir, streams, files, open, allocatedMiB, warnings };
}

t.test('what the coordinator has goes first, then the middle of what it has not', async (t) => {
  const { streams, open, allocatedMiB, warnings, stateDir } = someOutput(t, [
    [4, 0],
    [8, 6],
    [8, 2],
  ]);
  await open(20).check();
  t.strictSame(allocatedMiB(), [4, 8, 8], 'nothing, while there is room');
  await open(14).check();
  const [, second = 0, third = 0] = allocatedMiB();
  t.equal(second, 2);
  t.ok(third > 6.5 && third < 6.7, `no more than is needed: ${third}`);
  t.strictSame(warnings, [], 'by that nothing is lost');

  const spool = open(5);
  await spool.check();
  t.strictSame(allocatedMiB(), [2, 2, 2]);
  t.match(warnings, [
    { allocationId: 'j0.0#1', stream: 'stdout', bytes: 2 * MIB },
    { allocationId: 'j2.0#1', bytes: 4 * MIB },
  ]);
  const reopened = open(5);
  for (const each of [spool, reopened]) {
    const extent = (index: number, offset: number) => each.extent(`j${index}.0#1` as AllocationId, 'stdout', offset);
    t.strictSame(extent(0, 0), { from: 0, to: MIB }, 'the beginning is kept');
    t.strictSame(extent(0, MIB), { from: 3 * MIB, to: ENDLESS }, 'and the end');
    t.strictSame(extent(2, 5), { from: 2 * MIB, to: 3 * MIB });
    t.strictSame(extent(2, 7 * MIB), { from: 7 * MIB, to: ENDLESS });
  }
  const bytes = readFileSync(streams[0]?.path ?? '');
  const isX = (byte: number): boolean => byte === 'x'.charCodeAt(0);
  t.ok(bytes.length === 4 * MIB && bytes.subarray(0, MIB).every(isX) && bytes.subarray(3 * MIB).every(isX));
  t.ok(existsSync(join(stateDir, 'spool', 'j0.0#1')));
  reopened.forget('j0.0#1' as AllocationId);
  t.notOk(existsSync(join(stateDir, 'spool', 'j0.0#1')));
});

t.test('a disk that is too full counts like a limit, and one that gives nothing back loses nothing', async (t) => {
  const { open, allocatedMiB, warnings, files } = someOutput(t, [[80, 0]]);
  await open(1_000, { excessBytes: () => 8 * MIB }).check();
  const [left = 0] = allocatedMiB();
  t.ok(left > 64 && left < 72, `${left} MiB`);
  t.equal(warnings.length, 1);
  await open(1_000, { excessBytes: () => 1_000 * MIB }).check();
  t.ok((allocatedMiB()[0] ?? 0) > 57, 'however full it is, some room remains');
  t.ok(files.excessBytes() >= 0);

  const other = someOutput(t, [[8, 0]]);
  const refusing = other.open(2, { release: async () => 'not on this file system' });
  await refusing.check();
  t.strictSame(refusing.extent('j0.0#1' as AllocationId, 'stdout', 0), { from: 0, to: ENDLESS });
  t.strictSame(other.warnings, []);
});
