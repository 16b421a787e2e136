import {
  closeSync,
  fsyncSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statfsSync,
  statSync,
  writeSync,
} from 'node:fs';
import { join } from 'node:path';
import type { Clock } from '../../shared/clock.js';
import type { AllocationId } from '../../shared/ids.js';
import type { Log } from '../../shared/log.js';
import { runnerOf } from '../../shared/run-program.js';
import type { GoneOutput, SpoolDisk } from '../supervise/spool-disk.js';

export interface SpoolFilesOptions {
  /** The agent's state directory, on the disk of the output. */
  readonly stateDir: string;
  /** How full that disk may be before output is given up for it. */
  readonly highWaterPercent: number;
  readonly clock: Clock;
  readonly log: Log;
}

const STAT_BLOCK_BYTES = 512;
const RELEASE_LIMIT_MS = 60_000;
const MAX_OUTPUT_BYTES = 4_096;

/** Output files of this machine: `fallocate` gives their space back, and a file an attempt says what is gone. */
export function spoolFiles({ stateDir, highWaterPercent, clock, log }: SpoolFilesOptions): SpoolDisk {
  const folder = join(stateDir, 'spool');
  const run = runnerOf({ clock, timeLimitMs: RELEASE_LIMIT_MS, maxOutputBytes: MAX_OUTPUT_BYTES });
  return {
    measure: (path) => {
      const found = statSync(path, { throwIfNoEntry: false });
      return { sizeBytes: found?.size ?? 0, allocatedBytes: (found?.blocks ?? 0) * STAT_BLOCK_BYTES };
    },
    excessBytes: () => {
      const { blocks, bavail, bsize } = statfsSync(stateDir);
      return Math.max(0, blocks - bavail - (blocks * highWaterPercent) / 100) * bsize;
    },
    release: async (path, [from, to]) => {
      const flags = ['--punch-hole', '--offset', String(from), '--length', String(to - from)];
      const result = await run(['fallocate', ...flags, path], new AbortController().signal);
      if (result.kind === 'absent') return 'there is no program fallocate';
      if (result.kind === 'failed') return result.reason;
      return result.exitCode === 0 ? undefined : result.stderr.trim();
    },
    load: () => {
      mkdirSync(folder, { recursive: true, mode: 0o700 });
      return new Map(readdirSync(folder).flatMap((name) => readOne(folder, name, log)));
    },
    save: (id, gone) => {
      const path = join(folder, id);
      if (gone === null) return rmSync(path, { force: true });
      const file = openSync(`${path}.new`, 'w', 0o600);
      try {
        writeSync(file, JSON.stringify(gone));
        fsyncSync(file);
      } finally {
        closeSync(file);
      }
      renameSync(`${path}.new`, path);
    },
  };
}

function readOne(folder: string, name: string, log: Log): (readonly [AllocationId, GoneOutput])[] {
  if (name.endsWith('.new')) return [];
  try {
    return [[name as AllocationId, JSON.parse(readFileSync(join(folder, name), 'utf8')) as GoneOutput]];
  } catch (error) {
    log.error('what is gone of an output cannot be read', { allocationId: name, error: String(error) });
    return [];
  }
}
