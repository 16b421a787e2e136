import type { ArtifactStore } from '../../artifacts/artifact-store.js';
import { asHpcError, type HpcBackend } from '../backend.js';
import type { MirrorResult, MirrorStep } from '../mirror-policy.js';
import { performStep } from '../perform-step.js';
import type { RemoteWork } from './remote-work.js';
import { stageIn } from './staging.js';

export interface SubmitMeans {
  readonly backend: HpcBackend;
  readonly artifacts: ArtifactStore;
}

/** Does what is next for one job, bringing its files before it is submitted. Undefined: it was not to happen any more. */
export async function takeStep(
  work: RemoteWork,
  step: MirrorStep,
  means: SubmitMeans,
  signal: AbortSignal,
): Promise<MirrorResult | undefined> {
  const failed = step.kind === 'submit' ? await bringFiles(work, step, means, signal) : undefined;
  // While files were brought, somebody may have wanted it not to happen.
  if (step.kind === 'submit' && work.mirror.phase.kind !== 'submitting') return undefined;
  const remote = { backend: means.backend, submission: work.submission, before: work.mirror.job };
  return failed ?? performStep(step, remote, signal);
}

async function bringFiles(
  work: RemoteWork,
  step: MirrorStep,
  { backend, artifacts }: SubmitMeans,
  signal: AbortSignal,
): Promise<MirrorResult | undefined> {
  try {
    await stageIn({ files: backend.files, artifacts }, work, signal);
    return undefined;
  } catch (error) {
    const { kind, message } = asHpcError(error, 'bringing files');
    return { kind: 'failed', step, error: { kind, message } };
  }
}
