import { assertNever } from '../../shared/assert.js';
import { cpusOf } from '../../shared/units.js';
import type { Counted, LimitReached } from './headroom.js';
import type { WaitReason } from './wait-reason.js';

/** A limit that keeps tasks waiting, in words and numbers. */
export function explainLimit({ what, limit, used, needed }: LimitReached): WaitReason {
  const numbers = { limit, used, needed };
  switch (what.kind) {
    case 'max-parallel':
      return { code: 'max-parallel', message: `runs ${used} tasks at once, as maxParallel says`, details: numbers };
    case 'quota': {
      const { owner, name, resource } = what;
      const { text, noun } = AMOUNTS[resource];
      const message = `waits for the quota of ${owner} ${name}: needs ${text(needed)} ${noun}, ${text(used)} of ${text(limit)} are in use`;
      return { code: 'quota', message, details: { owner, name, resource, ...numbers } };
    }
    case 'licence': {
      const { name } = what;
      const message =
        limit === 0
          ? `no licence "${name}" exists in this cluster any more`
          : `waits for ${needed} ${needed === 1 ? 'licence' : 'licences'} "${name}" (${used} of ${limit} in use)`;
      return { code: 'licence', message, details: { name, ...numbers } };
    }
    case 'secret': {
      const { name, namespace } = what;
      const message = `waits for the secret "${name}" of namespace ${namespace}; set it with: berth secrets set ${name} --namespace ${namespace}`;
      return { code: 'secret', message, details: { name, namespace } };
    }
    default:
      return assertNever(what, 'limit');
  }
}

interface Amount {
  readonly text: (amount: number) => string;
  readonly noun: string;
}

const AMOUNTS: Readonly<Record<Counted, Amount>> = {
  taskCount: { text: String, noun: 'running tasks' },
  cpuMillis: { text: (millis) => String(cpusOf(millis)), noun: 'CPUs' },
  memoryMiB: { text: String, noun: 'MiB of memory' },
  gpuMillis: { text: (millis) => String(cpusOf(millis)), noun: 'GPUs' },
};
