import { CONTAINER_NETWORKS, type ContainerSpec, PULL_POLICIES } from '../../job-spec/spec.js';
import * as field from './fields.js';
import type { WireContainer } from './generated.js';

export function containerToWire(container: ContainerSpec): WireContainer {
  const { shmMiB, capAdd, tmpfs, entrypoint, ...same } = container;
  return {
    ...same,
    tmpfs: [...(tmpfs ?? [])],
    capAdd: [...(capAdd ?? [])],
    shmMib: shmMiB ?? 0,
    keepEntrypoint: entrypoint === 'image',
  };
}

export function containerFromWire(wire: WireContainer, where: string): ContainerSpec {
  const shmMiB = field.count(wire.shmMib, `${where}.shmMib`);
  const pidsLimit = field.count(wire.pidsLimit, `${where}.pidsLimit`);
  return {
    ...(wire.user ? { user: wire.user } : {}),
    ...(wire.readOnly ? { readOnly: true } : {}),
    ...(wire.tmpfs?.length ? { tmpfs: wire.tmpfs } : {}),
    ...(shmMiB === 0 ? {} : { shmMiB }),
    ...(wire.network ? { network: field.oneOf(wire.network, CONTAINER_NETWORKS, `${where}.network`) } : {}),
    ...(pidsLimit === 0 ? {} : { pidsLimit }),
    ...(wire.capAdd?.length ? { capAdd: wire.capAdd } : {}),
    ...(wire.pull ? { pull: field.oneOf(wire.pull, PULL_POLICIES, `${where}.pull`) } : {}),
    ...(wire.keepEntrypoint ? { entrypoint: 'image' } : {}),
  };
}
