import { type BackoffPolicy, backoffMs } from '../../shared/backoff.js';
import { type Cancel, type Clock, type EpochMs, sleep } from '../../shared/clock.js';
import type { InstanceId, NodeId } from '../../shared/ids.js';
import type { Log } from '../../shared/log.js';
import { POOL_LABEL, type PoolSpec } from '../../shared/pool.js';
import type { Random } from '../../shared/random.js';
import type { EngineHandle } from '../engine/handle.js';
import type { Effect } from '../engine/inputs.js';
import { type Instance, type MachineOrder, orderOf } from '../model/instance.js';
import type { ClusterView } from '../model/state.js';
import { MachineWatch } from './machine-watch.js';
import { type CreateOrder, type InstanceProvider, type JoinTicket, ProviderError } from './provider.js';
import { ProviderCalls } from './provider-calls.js';

export interface MachineOperatorOptions {
  readonly engine: Pick<EngineHandle, 'handle' | 'onCommitted'> & { readonly view: ClusterView };
  /** Makes, or has made already, the provider of a pool. Rejects with `ProviderError('configuration')`. */
  readonly providerOf: (spec: PoolSpec) => Promise<InstanceProvider>;
  /** What machines of this coordinator are tagged with. */
  readonly cluster: string;
  readonly ticketFor: (nodeId: NodeId) => JoinTicket;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Log;
}

/** After an order of which nobody knows what became. */
const RETRY: BackoffPolicy = { firstMs: 2_000, maxMs: 60_000, factor: 2 };
/** An order that was taken, and of which nothing came, is given again. */
const REPEAT_MS = 60_000;

/**
 * Tells providers what the machines' phases ask for, and the engine what became of it.
 *
 * It holds nothing that must survive: after a restart every machine is gone through again, and creations are idempotent
 * by their tag. What it does for one machine is done one after the other; an order that the engine has overtaken is
 * dropped.
 */
export class MachineOperator {
  readonly #options: MachineOperatorOptions;
  readonly #calls: ProviderCalls;
  readonly #watch: MachineWatch;
  readonly #pursued = new Set<InstanceId>();
  /** When a machine's newest order was taken. */
  readonly #takenAt = new Map<InstanceId, EpochMs>();
  readonly #unsubscribe: Cancel;

  constructor(options: MachineOperatorOptions) {
    this.#options = options;
    const { engine } = options;
    this.#calls = new ProviderCalls(options);
    this.#watch = new MachineWatch({
      ...{ ...options, view: engine.view, calls: this.#calls },
      seen: async (pool, machines, askedAt) => {
        await engine.handle({ type: 'machinesListed', pool, machines, askedAt });
        this.#goThrough(pool);
      },
    });
    this.#unsubscribe = engine.onCommitted((events) => {
      for (const { event } of events) if (event.type === 'pool.defined') this.#begin(event.spec);
    });
    for (const { spec } of engine.view.pools.values()) this.#begin(spec);
  }

  /** Does what follows for providers from events that are on disk; what is not for them is left to others. */
  perform(effects: readonly Effect[]): void {
    for (const effect of effects) {
      if (effect.kind === 'machine') void this.#pursue(effect.instanceId);
      if (effect.kind === 'orphan') this.#endOrphan(effect.pool, effect.ref);
    }
  }

  /** Why a pool's provider does not do as told; undefined when it does, or has not been asked. */
  troubleOf(pool: string): string | undefined {
    return this.#calls.troubleOf(pool);
  }

  close(): void {
    this.#unsubscribe();
    this.#calls.stop();
    this.#watch.stop();
  }

  /** A pool is new, or wanted otherwise: what its settings lack is told before a machine is needed. */
  #begin(spec: PoolSpec): void {
    this.#watch.lookSoon(spec.name);
    this.#calls.make(spec, (provider, signal) => provider.check(signal)).catch(() => {});
  }

  /** Orders of which nothing came are given again; what is known of machines that are gone is forgotten. */
  #goThrough(pool: string): void {
    const { instances } = this.#options.engine.view;
    for (const id of this.#takenAt.keys()) if (!instances.has(id)) this.#takenAt.delete(id);
    for (const { id, pool: own } of instances.values()) if (own === pool) void this.#pursue(id);
  }

  async #pursue(instanceId: InstanceId): Promise<void> {
    if (this.#pursued.has(instanceId)) return;
    this.#pursued.add(instanceId);
    const { engine, clock, random } = this.#options;
    for (let failureCount = 0; !this.#calls.isStopped; ) {
      const instance = engine.view.instances.get(instanceId);
      const order = instance && orderOf(instance);
      if (!instance || !order || this.#isTaken(instance)) break;
      failureCount = (await this.#carryOut(instance, order)) ? 0 : failureCount + 1;
      if (failureCount > 0) await sleep(clock, backoffMs(RETRY, failureCount, random));
    }
    this.#pursued.delete(instanceId);
  }

  /** Was the same order given already, and not so long ago? */
  #isTaken({ id, phase }: Instance): boolean {
    const takenAt = this.#takenAt.get(id);
    return takenAt !== undefined && takenAt >= phase.since && this.#options.clock.now() - takenAt < REPEAT_MS;
  }

  /** False when nobody knows what became of the order, and it has to be given again. */
  async #carryOut(instance: Instance, order: MachineOrder): Promise<boolean> {
    const { engine, clock, log } = this.#options;
    const { id: instanceId, pool } = instance;
    try {
      const ref = await this.#tell(instance, order);
      this.#takenAt.set(instanceId, clock.now());
      log.info('machine ordered', { instanceId, order, pool });
      this.#watch.lookSoon(pool);
      if (ref !== undefined) await engine.handle({ type: 'machineCreated', instanceId, ref });
      return true;
    } catch (error) {
      // An engine that has stopped is followed by another one, which goes through all machines.
      if (!(error instanceof ProviderError) || error.fault === 'unavailable') return false;
      const { fault, message } = error;
      await engine.handle({ type: 'machineRefused', instanceId, order, fault, message }).catch(() => {});
      return order !== 'terminate' || fault === 'not-found';
    }
  }

  /** The provider's name for a new machine; undefined for other orders. */
  async #tell(instance: Instance, order: MachineOrder): Promise<string | undefined> {
    const { id: instanceId, pool, ref } = instance;
    const spec = this.#options.engine.view.pools.get(pool)?.spec;
    if (!spec) throw new ProviderError('configuration', `there is no pool ${pool}`);
    return this.#calls.make(
      spec,
      async (provider, signal) => {
        if (order === 'create') return (await provider.create(this.#creation(instance, spec), signal)).ref;
        if (order === 'suspend' && !provider.traits.canSuspend) {
          const { kind } = spec.provider;
          throw new ProviderError('configuration', `provider ${kind} cannot suspend; set onIdle: terminate`);
        }
        // Given up before its provider had told of it: if there is such a machine, it is found by its tag.
        if (ref !== null) await provider[order](ref, signal);
        return undefined;
      },
      { instanceId, order },
    );
  }

  #creation({ id: instanceId, pool, nodeId }: Instance, { node }: PoolSpec): CreateOrder {
    const { cluster, ticketFor } = this.#options;
    const labels = { ...node.labels, [POOL_LABEL]: pool };
    return { cluster, instanceId, pool, nodeId, shape: node, labels, join: ticketFor(nodeId) };
  }

  /** If that fails, it is found again by the next look. */
  #endOrphan(pool: string, ref: string): void {
    const spec = this.#options.engine.view.pools.get(pool)?.spec;
    if (!spec) return;
    this.#options.log.warn('a machine that nobody wants is terminated', { pool, ref });
    this.#calls.make(spec, (provider, signal) => provider.terminate(ref, signal), { ref }).catch(() => {});
  }
}
