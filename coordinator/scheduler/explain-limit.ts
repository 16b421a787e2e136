import { assertNever } from '../../shared/assert.js';
import { ownerWords } from '../../shared/limits.js';
import { cpusOf, formatMiB } from '../../shared/units.js';
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
      const message = `waits for the quota of ${ownerWords(what)}: ${AMOUNTS[resource]({ limit, used, needed })}`;
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

type Amounts = Pick<LimitReached, 'limit' | 'used' | 'needed'>;

const inUse =
  (noun: string, text: (amount: number) => string) =>
  ({ limit, used, needed }: Amounts): string =>
    `needs ${text(needed)} ${noun}, ${text(used)} of ${text(limit)} are in use`;

const AMOUNTS: Readonly<Record<Counted, (amounts: Amounts) => string>> = {
  taskCount: ({ limit, used }) => `${used} of ${limit} tasks are placed`,
  cpuMillis: inUse('CPUs', (millis) => String(cpusOf(millis))),
  memoryMiB: inUse('of memory', formatMiB),
  gpuMillis: inUse('GPUs', (millis) => String(cpusOf(millis))),
};
