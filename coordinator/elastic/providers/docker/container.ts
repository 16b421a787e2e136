import type { ContainerCreateOptions } from 'dockerode';
import { MIB } from '../../../../shared/units.js';
import type { CreateOrder, MachineState } from '../../provider.js';
import { agentFlags } from '../agent-flags.js';
import { tarOf } from './tar-file.js';

export interface ContainerSettings {
  readonly image: string;
  readonly command: readonly string[];
  readonly network: string;
  /** SOURCE:TARGET[:ro], as Docker has them. */
  readonly mounts: readonly string[];
  readonly agentFlags: readonly string[];
}

/** Whose a container is. */
export const LABELS = {
  cluster: 'berth.cluster',
  instance: 'berth.instance',
  pool: 'berth.pool',
} as const;

const JOIN = { folder: '/', token: 'berth-join.token', ca: 'berth-ca.pem' } as const;
const STATE_DIR = '/berth-agent';

/** A machine's container has its tag as its name, so that Docker itself refuses a second one. */
export function containerNameOf({ cluster, instanceId }: Pick<CreateOrder, 'cluster' | 'instanceId'>): string {
  return `berth-${cluster}-${instanceId}`;
}

export function labelsOf({ cluster, instanceId, pool }: CreateOrder): Record<string, string> {
  return { [LABELS.cluster]: cluster, [LABELS.instance]: instanceId, [LABELS.pool]: pool };
}

/** It holds itself to the size that its node reports. */
export function containerOf(order: CreateOrder, settings: ContainerSettings): ContainerCreateOptions {
  const { image, command, network, mounts } = settings;
  const { cpuMillis, memoryMiB } = order.shape.capacity;
  const flags = agentFlags(order, {
    stateDir: STATE_DIR,
    tokenFile: `${JOIN.folder}${JOIN.token}`,
    caFile: `${JOIN.folder}${JOIN.ca}`,
  });
  const memory = memoryMiB * MIB;
  return {
    name: containerNameOf(order),
    Image: image,
    Entrypoint: [...command],
    Cmd: [...flags, ...settings.agentFlags],
    Labels: labelsOf(order),
    HostConfig: {
      NetworkMode: network,
      Binds: [...mounts],
      NanoCpus: cpuMillis * 1_000_000,
      Memory: memory,
      MemorySwap: memory,
      // Something has to bury orphaned processes, and to hand signals on.
      Init: true,
      // As systemd does for an agent on a machine; also when the daemon or the whole host starts anew.
      RestartPolicy: { Name: 'unless-stopped' },
    },
  };
}

/** What its agent joins with, as files to be put into it before it starts. */
export function joinFilesOf({ join }: CreateOrder): { readonly folder: string; readonly archive: Buffer } {
  const token = { name: JOIN.token, mode: 0o600, content: `${join.token}\n` };
  const ca = join.ca === null ? [] : [{ name: JOIN.ca, mode: 0o644, content: join.ca }];
  return { folder: JOIN.folder, archive: tarOf([token, ...ca]) };
}

/** Docker's word for how a container is; undefined for what is gone. */
export function stateOf(status: string): MachineState {
  return STATES[status] ?? 'running';
}

const STATES: Readonly<Record<string, MachineState>> = {
  created: 'starting',
  restarting: 'starting',
  running: 'running',
  paused: 'suspended',
  exited: 'suspended',
  removing: 'terminating',
  dead: 'terminating',
};
