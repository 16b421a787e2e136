import { join } from 'node:path';
import type { Clock } from '../shared/clock.js';
import type { Refusal } from '../shared/errors.js';
import type { NodeId } from '../shared/ids.js';
import type { Log } from '../shared/log.js';
import type { PoolSpec } from '../shared/pool.js';
import type { Random } from '../shared/random.js';
import { MachineOperator, type MachineOperatorOptions } from './elastic/machine-operator.js';
import type { InstanceProvider } from './elastic/provider.js';
import { loadProvider } from './elastic/provider-kinds.js';
import { refuseProvider } from './elastic/refuse-provider.js';
import type { Engine } from './engine/engine.js';
import type { JoinTickets } from './gateway/join-tickets.js';
import { CONFIGURED } from './model/pool.js';

export interface MachineRoomOptions {
  readonly stateDir: string;
  /** Of the configuration file. */
  readonly pools: readonly PoolSpec[];
  readonly cluster: string;
  readonly tickets: JoinTickets;
  readonly secret: (name: string) => string | undefined;
  readonly environment: Readonly<Record<string, string | undefined>>;
  /** Where agents reach us; asked when a machine is made. */
  readonly url: () => string;
  /** The certificates (PEM) that they are to trust there; null: those of their system. */
  readonly ca: string | null;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
}

/** What rents machines, put together: providers outlive the engines that come and go. */
export class MachineRoom {
  readonly #options: MachineRoomOptions;
  readonly #providers = new Map<string, Promise<InstanceProvider>>();

  constructor(options: MachineRoomOptions) {
    this.#options = options;
  }

  /** Tells an engine which pools the configuration file has. */
  async define(engine: Pick<Engine, 'handle'>): Promise<void> {
    await engine.handle({ type: 'definePools', specs: this.#options.pools, by: CONFIGURED });
  }

  operate(engine: MachineOperatorOptions['engine']): MachineOperator {
    const { cluster, tickets, url, ca, clock, random, log } = this.#options;
    return new MachineOperator({
      ...{ engine, cluster, clock, random, log },
      providerOf: (spec) => this.#providerOf(spec),
      ticketFor: (nodeId: NodeId) => ({ url: url(), ca, token: tickets.issue(nodeId) }),
    });
  }

  /** Why there can be no provider as a pool wants it; whether its settings work shows only when it is asked. */
  async refuseProvider(spec: PoolSpec): Promise<Refusal | undefined> {
    return refuseProvider(spec, () => this.#providerOf(spec));
  }

  #providerOf({ name, provider }: PoolSpec): Promise<InstanceProvider> {
    const key = JSON.stringify([name, provider]);
    const known = this.#providers.get(key);
    if (known) return known;
    const { stateDir, secret, environment, clock } = this.#options;
    const world = { stateDir: join(stateDir, 'machines', name), secret, environment, clock };
    const made = loadProvider(provider.kind).then((factory) => factory(provider.settings, world));
    this.#providers.set(key, made);
    // What was wrong with it may be mended without a new specification: a package that was missing, a secret.
    made.catch(() => this.#providers.delete(key));
    return made;
  }
}
