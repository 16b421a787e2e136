import { createHash } from 'node:crypto';
import type { InstanceId } from '../../../shared/ids.js';
import type { CreateOrder, Machine, MachineState } from '../provider.js';

/** By these a machine is known to be ours, in every cloud. */
export const TAGS = { cluster: 'berth-cluster', instance: 'berth-instance', pool: 'berth-pool' } as const;

export type Tags = Readonly<Record<string, string>>;

type Tagged = Pick<CreateOrder, 'cluster' | 'instanceId' | 'pool'>;

export function tagsOf({ cluster, instanceId, pool }: Tagged): Tags {
  return { [TAGS.cluster]: cluster, [TAGS.instance]: instanceId, [TAGS.pool]: pool };
}

/** The machine that the tags speak of; undefined when it is none of the cluster's. */
export function machineOf(
  tags: Tags,
  cluster: string,
  seen: { ref: string; state: MachineState },
): Machine | undefined {
  const instanceId = tags[TAGS.instance];
  if (tags[TAGS.cluster] !== cluster || instanceId === undefined) return undefined;
  return { ...seen, instanceId: instanceId as InstanceId, pool: tags[TAGS.pool] ?? '' };
}

/** The same for the same machine, another for any other: 64 hexadecimal digits. */
export function tokenOf(...parts: readonly string[]): string {
  return createHash('sha256').update(JSON.stringify(parts)).digest('hex');
}

/** So that with the longest instance id a machine's name has no more than 63 characters. */
const MAX_SLUG = 30;

/** A name as clouds want them: small letters, digits and hyphens. Different names stay different. */
export function slugOf(name: string): string {
  const slug = name
    .toLowerCase()
    .replaceAll(/[^a-z0-9-]/g, '-')
    .slice(0, MAX_SLUG);
  return slug === name && !slug.endsWith('-') ? slug : `${slug}-${tokenOf(name).slice(0, 8)}`;
}

/** What the machine is called where the cloud's names are unique: at most 63 characters, from a letter on. */
export function machineNameOf({ cluster, instanceId }: Tagged): string {
  return `${machinePrefixOf(cluster)}${instanceId}`;
}

export function machinePrefixOf(cluster: string): string {
  return `berth-${slugOf(cluster)}-`;
}
