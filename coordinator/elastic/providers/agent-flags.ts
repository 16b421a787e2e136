import { cpusOf, formatMiB } from '../../../shared/units.js';
import type { CreateOrder, JoinAddress } from '../provider.js';

/** Where an agent of a machine that we start ourselves finds its things. */
export interface AgentPlaces {
  readonly stateDir: string;
  readonly tokenFile: string;
  /** Of the certificates that it is to trust, if there are any. */
  readonly caFile: string;
}

/** Flags of `berth agent` that make it the node that was ordered: its name, its size, its labels. */
export function agentFlags(
  { nodeId, labels, shape, join }: Omit<CreateOrder, 'join'> & { readonly join: JoinAddress },
  { stateDir, tokenFile, caFile }: AgentPlaces,
): string[] {
  const { cpuMillis, memoryMiB, diskMiB } = shape.capacity;
  return [
    ...['--state-dir', stateDir, '--url', join.url, '--token-file', tokenFile, '--name', nodeId],
    ...(join.ca ? ['--ca-file', caFile] : []),
    ...['--cpus', String(cpusOf(cpuMillis)), '--memory', formatMiB(memoryMiB)],
    ...(diskMiB > 0 ? ['--disk', formatMiB(diskMiB)] : []),
    ...['--gpus', String(shape.gpus.length)],
    ...Object.entries(labels).flatMap(([key, value]) => ['--label', `${key}=${value}`]),
    ...(shape.drivers.includes('docker') ? [] : ['--docker-host', 'none']),
  ];
}
