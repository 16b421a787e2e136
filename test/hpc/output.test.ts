import t from 'tap';
import { TaskLogs } from '../../coordinator/gateway/task-logs.js';
import type { RemoteFiles } from '../../coordinator/hpc/backend.js';
import { Output } from '../../coordinator/hpc/operator/output.js';
import type { Member, RemoteWork } from '../../coordinator/hpc/operator/remote-work.js';
import { systemClock } from '../../shared/clock.js';
import { parseAllocationId } from '../../shared/ids.js';
import { silentLog } from '../../shared/log.js';
import { temporaryFolder } from '../kit/temporary-folder.js';
import { until } from '../kit/until.js';

const signal = new AbortController().signal;

t.test('output that is followed while the task ends is kept once', async (t) => {
  const logs = new TaskLogs({ stateDir: temporaryFolder(t), clock: systemClock, log: silentLog });
  t.teardown(() => logs.close());
  const kept: Member['kept'] = { stdout: 0, stderr: 0 };
  let askedCount = 0;
  const files: Pick<RemoteFiles, 'read'> = {
    read: async (path, { offset }) => {
      if (!path.endsWith('out.3')) return null;
      askedCount += 1;
      // Whoever finishes has asked for the same bytes, and has them once those of the other are kept.
      if (askedCount === 1) await until('both have asked', () => askedCount === 2);
      else if (askedCount === 2) await until('the first are kept', () => kept.stdout !== 0);
      return Buffer.from('task 3\n').subarray(offset);
    },
  };
  const output = new Output(files as RemoteFiles, logs);
  const allocationId = 'j1.3#1';
  const member = { allocationId, index: 3, kept } as unknown as Member;
  const work = { submission: { work: '/w' } } as unknown as RemoteWork;
  await Promise.all([output.follow(work, member, signal), output.finish(work, member, signal)]);
  const ref = parseAllocationId(allocationId);
  if (!ref) throw new Error('unreachable');
  t.equal(Buffer.from(await logs.read(ref, 'stdout', 0, 100)).toString(), 'task 3\n');
  t.ok(await logs.isComplete(ref, 'stdout'));
});
