import { type Refusal, refuse } from '../../shared/errors.js';
import type { Job } from './job.js';

/** Why the job cannot be held; undefined when it can, or is held already. */
export function refuseHold({ id, phase }: Job): Refusal | undefined {
  if (phase.kind === 'held' || phase.kind === 'active') return undefined;
  return refuse('conflict', `${id} is ${phase.kind}; only an active job can be held`);
}

/** Why the job cannot be released; undefined when it can, or is active already. */
export function refuseRelease({ id, phase }: Job): Refusal | undefined {
  if (phase.kind === 'held' || phase.kind === 'active') return undefined;
  return refuse('conflict', `${id} is ${phase.kind}; only a held job can be released`);
}

export function refuseCancel({ id, phase }: Job): Refusal | undefined {
  return phase.kind === 'finished' ? refuse('conflict', `${id} is already finished (${phase.outcome})`) : undefined;
}
