import { existsSync } from 'node:fs';
import { join } from 'node:path';
import type { Cancel, Clock } from '../../../shared/clock.js';
import type { NodeId } from '../../../shared/ids.js';
import type { Log } from '../../../shared/log.js';
import type { Random } from '../../../shared/random.js';
import type { DriverFactory } from '../driver.js';
import type { SecretFolder } from '../secret-folder.js';
import { dockerDriver } from './docker-driver.js';
import type { DockerPolicy } from './docker-policy.js';
import { engineAttributes, openEngine } from './engine.js';
import { type Attributes, type DockerOffer, KnownEngine } from './known-engine.js';
import { credentialsIn } from './registry.js';

export interface NodeDockerOptions {
  readonly stateDir: string;
  /** Null: no containers on this node. */
  readonly socketPath: string | null;
  readonly policy: DockerPolicy;
  readonly imageHighWaterPercent: number;
  /** The node's credentials for registries; null when it has none. */
  readonly credentialsFile: string | null;
  /** Undefined where there is no place in memory for secrets. */
  readonly secrets: SecretFolder | undefined;
  readonly nodeId: NodeId;
  readonly hasGpus: () => boolean;
  readonly bootId: string;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
}

const WATCH_MS = 5_000;

/** This node's Docker as the agent's composition sees it. */
export interface NodeDocker {
  readonly factory: DriverFactory;
  /** Undefined for a daemon that has never answered. One that did and does not is away, with what it offered. */
  offer(): Promise<DockerOffer | undefined>;
  /** Calls `changed` whenever the daemon went away or came back since `offer` was last asked. */
  watch(changed: () => void): Cancel;
}

/**
 * Undefined where there is no Docker: no socket, and nothing of an earlier day to be taken up. A daemon that is only
 * away for a while is no reason to give its containers up.
 */
export function nodeDocker(options: NodeDockerOptions): NodeDocker | undefined {
  const { socketPath, stateDir, policy, credentialsFile, nodeId, hasGpus, clock } = options;
  const directory = join(stateDir, 'docker');
  if (socketPath === null || !(existsSync(socketPath) || existsSync(directory))) return undefined;
  const engine = openEngine(socketPath);
  const known = new KnownEngine(join(directory, 'engine.json'));
  let told: boolean | undefined;
  const ask = async (): Promise<Attributes | undefined> => engineAttributes(await engine);
  return {
    factory: async (listener) => {
      const task = { nodeName: nodeId, env: {}, hasGpus };
      const credentials = credentialsFile === null ? () => undefined : credentialsIn(credentialsFile);
      return dockerDriver({ ...options, directory, docker: await engine, task, policy, credentials })(listener);
    },
    offer: async () => {
      const found = await ask();
      told = found !== undefined;
      return known.offer(found, clock.now());
    },
    watch: (changed) => {
      let cancel: Cancel = () => {};
      const look = async (): Promise<void> => {
        const answers = (await ask()) !== undefined;
        if (told !== undefined && answers !== told) changed();
        later();
      };
      const later = (): void => {
        cancel = clock.after(WATCH_MS, () => void look());
      };
      later();
      return () => cancel();
    },
  };
}
