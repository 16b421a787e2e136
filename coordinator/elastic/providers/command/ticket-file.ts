import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { cpusOf } from '../../../../shared/units.js';
import type { CreateOrder } from '../../provider.js';
import type { HookValues } from './hook.js';

/** Runs `use` with all that a machine's creation is about. Token and certificates are in files of our own, for as long as it runs. */
export async function withTicket<T>(
  stateDir: string,
  order: CreateOrder,
  use: (values: HookValues) => Promise<T>,
): Promise<T> {
  // Readable by this user alone, like all that mkdtemp makes.
  const folder = await mkdtemp(join(stateDir, 'ticket-'));
  try {
    const tokenFile = join(folder, 'join.token');
    await writeFile(tokenFile, `${order.join.token}\n`, { mode: 0o600 });
    const caFile = order.join.ca === null ? '' : join(folder, 'ca.pem');
    if (order.join.ca !== null) await writeFile(caFile, order.join.ca);
    return await use({ ...valuesOf(order), tokenFile, caFile });
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

function valuesOf({ cluster, instanceId, pool, nodeId, labels, shape, join: { url } }: CreateOrder): HookValues {
  return {
    cluster,
    instance: instanceId,
    pool,
    node: nodeId,
    url,
    labels: Object.entries(labels)
      .map(([key, value]) => `${key}=${value}`)
      .join(','),
    cpus: String(cpusOf(shape.capacity.cpuMillis)),
    memoryMiB: String(shape.capacity.memoryMiB),
    gpus: String(shape.gpus.length),
  };
}
