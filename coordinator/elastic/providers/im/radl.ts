import type { CreateOrder } from '../../provider.js';
import { machineNameOf, tagsOf } from '../tags.js';

/** What a machine is to be, in the terms of the Infrastructure Manager's description language. */
export interface RadlWish {
  readonly image: string;
  readonly cpus: number;
  readonly memoryMiB: number;
  readonly instanceType: string | undefined;
  readonly availabilityZone: string | undefined;
  readonly network: string | undefined;
  readonly publicAddress: boolean;
  readonly user: string | undefined;
  /** Which of the clouds in the authorization; any that fits when undefined. */
  readonly cloud: string | undefined;
}

/**
 * An infrastructure without a machine. It carries the tags, so that it is found again whatever happens while its
 * machine is made.
 */
export function emptyRadl(wish: RadlWish, order: CreateOrder): string {
  const tags = Object.entries(tagsOf(order)).map(([key, value]) => `${key}=${value}`);
  const features = [
    `instance_name = '${machineNameOf(order)}'`,
    `instance_tags = '${tags.join(',')}'`,
    `cpu.count >= ${wish.cpus}`,
    `memory.size >= ${wish.memoryMiB}M`,
    ...feature('instance_type', wish.instanceType),
    ...feature('availability_zone', wish.availabilityZone),
    "net_interface.0.connection = 'net'",
    "disk.0.os.name = 'linux'",
    `disk.0.image.url = '${wish.image}'`,
    ...feature('disk.0.os.credentials.username', wish.user),
  ];
  const net = [`outbound = '${wish.publicAddress ? 'yes' : 'no'}'`, ...feature('provider_id', wish.network)];
  return `network net (${net.join(' and ')})\n\nsystem node (\n  ${features.join(' and\n  ')}\n)\n`;
}

function feature(name: string, value: string | undefined): readonly string[] {
  return value === undefined ? [] : [`${name} = '${value}'`];
}

/** The order to make the machine, with what it does when it boots. Nothing is configured by Ansible. */
export function machineRadl({ cloud }: RadlWish, userData: string): string {
  return [
    'network net',
    'system node',
    // The text ends at the first "@end", which in JSON can be written otherwise.
    `configure join (\n@begin\n${userData.replaceAll('@', '\\u0040')}@end\n)`,
    'contextualize (\n  system node configure join with cloud_init\n)',
    `deploy node 1${cloud === undefined ? '' : ` ${cloud}`}`,
    '',
  ].join('\n\n');
}
