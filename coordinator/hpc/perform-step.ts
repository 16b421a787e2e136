import { eachIndex } from '../../shared/ranges.js';
import { asHpcError } from './backend.js';
import { idOfMarks, jobOfMarks } from './marks.js';
import type { MirrorResult, MirrorStep } from './mirror-policy.js';
import type { RemoteJob } from './remote-job.js';
import { indexesOf, judge, marksOf, type Remote } from './witnesses.js';

/** Does what the policy says, and tells what came of it; never throws. `wait` and `done` are the caller's. */
export async function performStep(step: MirrorStep, remote: Remote, signal: AbortSignal): Promise<MirrorResult> {
  try {
    return await perform(step, remote, signal);
  } catch (error) {
    const { kind, message } = asHpcError(error, step.kind);
    return { kind: 'failed', step, error: { kind, message } };
  }
}

async function perform(step: MirrorStep, remote: Remote, signal: AbortSignal): Promise<MirrorResult> {
  const { backend, submission } = remote;
  switch (step.kind) {
    case 'find':
      return { kind: 'found', jobs: await findJobs(remote, signal) };
    case 'submit':
      return { kind: 'submitted', remoteId: await backend.submit(submission, signal) };
    case 'cancel':
      await backend.cancel(step.remoteId, signal);
      return { kind: 'cancel-sent', remoteId: step.remoteId };
    case 'poll': {
      const jobs = await backend.statusOf([step.remoteId], signal);
      const sighting = { id: step.remoteId, job: jobs.get(step.remoteId) };
      return { kind: 'status', job: await judge(sighting, remote, signal) };
    }
    case 'wait':
    case 'done':
      throw new Error(`a ${step.kind} is nothing to perform`);
  }
}

async function findJobs(remote: Remote, signal: AbortSignal): Promise<readonly RemoteJob[]> {
  const { backend, submission } = remote;
  const [first, ...others] = await backend.find(submission.tag, signal);
  if (first) return [(await judge({ id: first.id, job: first }, remote, signal)) ?? first, ...others];
  const marks = await marksOf(backend.files, submission, signal);
  const id = idOfMarks(marks);
  if (id === undefined) return [];
  const ended = jobOfMarks(marks, submission.tag, eachIndex(indexesOf(submission)));
  // It has begun and is not known any more: polls will say that it is lost, unless it is found after all.
  return [ended ?? begun(id, submission.tag)];
}

function begun(id: string, tag: string): RemoteJob {
  return { id, tag, state: 'running', reason: '', nodes: '', requeueCount: 0, outcome: null, tasks: [] };
}
