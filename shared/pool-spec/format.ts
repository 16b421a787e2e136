import { type NodeShape, POOL_LABEL, type PoolSpec, type WarmFloor } from '../pool.js';
import { cpusOf, formatDuration, formatMiB } from '../units.js';

/** The pool as `parsePool` reads it back, with every default written out. */
export function formatPool(pool: PoolSpec): Readonly<Record<string, unknown>> {
  const { provider, node, warm, idleMs, times, ...rest } = pool;
  const { quota, ...plain } = rest;
  return {
    ...plain,
    provider: { kind: provider.kind, ...provider.settings },
    node: formatNode(node),
    warm: formatWarm(warm),
    idle: formatDuration(idleMs),
    ...(quota === null ? {} : { quota }),
    times: {
      boot: formatDuration(times.bootMs),
      resume: formatDuration(times.resumeMs),
      off: formatDuration(times.offMs),
    },
  };
}

function formatNode({ capacity, gpus, labels, attributes, drivers }: NodeShape): Readonly<Record<string, unknown>> {
  const { [POOL_LABEL]: _, ...own } = labels;
  const [gpu] = gpus;
  return {
    ...formatResources(capacity),
    ...(gpu === undefined
      ? {}
      : {
          gpus: {
            count: gpus.length,
            ...(gpu.model === '' ? {} : { model: gpu.model }),
            ...(gpu.memoryMiB === 0 ? {} : { memory: formatMiB(gpu.memoryMiB) }),
          },
        }),
    labels: own,
    attributes,
    drivers,
  };
}

function formatWarm(warm: WarmFloor): unknown {
  if (warm.kind === 'nodes') return warm.count;
  const { resources, gpuCount } = warm.of;
  return { slots: warm.count, of: { ...formatResources(resources), gpus: gpuCount } };
}

function formatResources({ cpuMillis, memoryMiB, diskMiB }: NodeShape['capacity']): Readonly<Record<string, unknown>> {
  return { cpus: cpusOf(cpuMillis), memory: formatMiB(memoryMiB), disk: formatMiB(diskMiB) };
}
