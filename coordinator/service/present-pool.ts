import Type, { type Static } from 'typebox';
import type { EpochMs } from '../../shared/clock.js';
import { formatPool } from '../../shared/pool-spec/format.js';
import type { Instance } from '../model/instance.js';
import { machineTimes, poolCost, poolTimes } from '../model/machine-times.js';
import type { Pool } from '../model/pool.js';
import { instant, nullable, oneOf, time } from './schemas.js';

const count = Type.Integer({ minimum: 0 });
const milliseconds = Type.Integer({ minimum: 0 });

export const MACHINE_PHASES = [
  'requested',
  'booting',
  'joined',
  'closing',
  'stopping',
  'suspended',
  'resuming',
] as const;

export const machineSchema = Type.Object({
  id: Type.String(),
  node: Type.String({ description: 'The name under which its agent joins.' }),
  pool: Type.String(),
  phase: oneOf(
    MACHINE_PHASES,
    'closing: its node is to confirm that it is empty. stopping: it is, and its provider switches it off.',
  ),
  since: time('Since when it has been in this phase.'),
  to: nullable(oneOf(['suspend', 'terminate']), 'What becomes of it when it is closing or stopping.'),
  reason: nullable(Type.String(), 'Why it is closing or stopping.'),
  why: oneOf(['demand', 'warm', 'minimum', 'request', 'predeploy'], 'What it was made for.'),
  ref: nullable(Type.String(), "The provider's name for it."),
  requestedAt: time('When it was first wanted.'),
  powerOnCount: count,
  onMs: milliseconds,
  suspendedMs: milliseconds,
});
export type MachineView = Static<typeof machineSchema>;

export const poolSchema = Type.Object({
  name: Type.String(),
  spec: Type.Object({}, { additionalProperties: true, description: 'As it can be applied again, defaults included.' }),
  provider: Type.String(),
  definedBy: Type.String(),
  state: oneOf(['enabled', 'disabled', 'cordoned', 'retiring']),
  since: nullable(time('Since when it has been disabled or cordoned.')),
  reason: nullable(Type.String(), 'Why it is disabled or cordoned.'),
  requested: nullable(count, 'Machines that are to be on at least, by an explicit request.'),
  counts: Type.Object(
    { on: count, starting: count, stopping: count, suspended: count },
    { description: 'Its machines. on: joined, or closing and still to be taken back.' },
  ),
  times: Type.Object(
    { bootMs: milliseconds, resumeMs: milliseconds, offMs: milliseconds },
    { description: 'How long things usually take: as specified, then as learnt.' },
  ),
  cooling: nullable(
    Type.Object({
      until: time('When it orders a machine again.'),
      fault: oneOf(['quota', 'capacity', 'credentials', 'configuration', 'not-found', 'timeout']),
      message: Type.String(),
      failureCount: Type.Integer({ minimum: 1, description: 'Failures in a row.' }),
    }),
    'Why it orders no machine for a while.',
  ),
  trouble: nullable(Type.String(), 'Why its provider does not do as told, in its newest words.'),
  totals: Type.Object(
    { onMs: milliseconds, suspendedMs: milliseconds, powerOnCount: count, failedPowerOnCount: count },
    { description: 'Of all its machines, those that are gone included.' },
  ),
  cost: nullable(Type.Number({ minimum: 0 }), 'All of that at the prices of its time; null when it has no prices.'),
  machines: Type.Optional(Type.Array(machineSchema, { description: 'Only when the pool was asked for by itself.' })),
});
export type PoolView = Static<typeof poolSchema>;

export interface PoolLook {
  readonly trouble: string | undefined;
  readonly now: EpochMs;
}

/** Cost: O(its machines). */
export function presentPool(pool: Pool, machines: readonly Instance[], { trouble, now }: PoolLook): PoolView {
  const { spec, definedBy, intake, requested, times, cooling } = pool;
  const totals = poolTimes(pool, machines, now);
  return {
    name: spec.name,
    spec: formatPool(spec),
    provider: spec.provider.kind,
    definedBy,
    state: intake.kind,
    since: intake.kind === 'enabled' ? null : instant(intake.since),
    reason: intake.kind === 'enabled' ? null : intake.reason,
    requested,
    counts: countsOf(machines),
    times,
    cooling: cooling !== null && cooling.until > now ? { ...cooling, until: instant(cooling.until) } : null,
    trouble: trouble ?? null,
    totals,
    cost: poolCost(pool, machines, now),
  };
}

export function presentMachine(machine: Instance, now: EpochMs): MachineView {
  const { id, nodeId, pool, phase, why, ref, requestedAt, powerOnCount } = machine;
  return {
    id,
    node: nodeId,
    pool,
    phase: phase.kind,
    since: instant(phase.since),
    to: 'to' in phase ? phase.to : null,
    reason: 'reason' in phase ? phase.reason : null,
    why,
    ref,
    requestedAt: instant(requestedAt),
    powerOnCount,
    ...machineTimes(machine, now),
  };
}

type Counts = PoolView['counts'];

const COUNTED: Readonly<Record<Instance['phase']['kind'], keyof Counts>> = {
  requested: 'starting',
  booting: 'starting',
  joined: 'on',
  closing: 'on',
  stopping: 'stopping',
  suspended: 'suspended',
  resuming: 'starting',
};

function countsOf(machines: readonly Instance[]): Counts {
  const counts = { on: 0, starting: 0, stopping: 0, suspended: 0 };
  for (const { phase } of machines) counts[COUNTED[phase.kind]] += 1;
  return counts;
}
