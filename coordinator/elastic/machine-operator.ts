import { type BackoffPolicy, backoffMs } from '../../shared/backoff.js';
import { type Cancel, type Clock, sleep } from '../../shared/clock.js';
import type { InstanceId, NodeId } from '../../shared/ids.js';
import type { Log } from '../../shared/log.js';
import { POOL_LABEL, type PoolSpec } from '../../shared/pool.js';
import type { Random } from '../../shared/random.js';
import type { EngineHandle } from '../engine/handle.js';
import type { Effect } from '../engine/inputs.js';
import { type Instance, type MachineOrder, orderOf } from '../model/instance.js';
import type { ClusterView } from '../model/state.js';
import { Gate } from './gate.js';
import { type InstanceProvider, type JoinTicket, ProviderError } from './provider.js';

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

export const OPERATOR_LIMITS = {
  /** A provider that has not answered by then is taken not to have answered. */
  orderMs: 240_000,
  /** Orders under way at once, over all providers. */
  orders: 16,
} as const;

const RETRY: BackoffPolicy = { firstMs: 2_000, maxMs: 60_000, factor: 2 };
/** A provider is asked what it has: often while something is on its way there, seldom otherwise. */
const LOOK: BackoffPolicy = { firstMs: 500, maxMs: 10_000, factor: 1.5 };
const LOOK_AT_REST_MS = 60_000;
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
  readonly #stop = new AbortController();
  readonly #gate = new Gate(OPERATOR_LIMITS.orders);
  readonly #pursued = new Set<InstanceId>();
  /** When an order to switch off or on was taken, by machine. */
  readonly #takenAt = new Map<InstanceId, number>();
  readonly #looks = new Map<string, Look>();
  /** Why a pool's provider does not do as told, newest word; cleared by its next success. */
  readonly #troubles = new Map<string, string>();
  readonly #unsubscribe: Cancel;

  constructor(options: MachineOperatorOptions) {
    this.#options = options;
    this.#unsubscribe = options.engine.onCommitted((events) => {
      for (const { event } of events) if (event.type === 'pool.defined') this.#begin(event.spec);
    });
    for (const { spec } of options.engine.view.pools.values()) this.#begin(spec);
  }

  /** Does what follows for providers from events that are on disk; what is not for them is left to others. */
  perform(effects: readonly Effect[]): void {
    for (const effect of effects) {
      if (effect.kind === 'machine') void this.#pursue(effect.instanceId);
      if (effect.kind === 'orphan') void this.#endOrphan(effect.pool, effect.ref);
    }
  }

  /** Why a pool's provider does not do as told; undefined when it does, or has not been asked. */
  troubleOf(pool: string): string | undefined {
    return this.#troubles.get(pool);
  }

  close(): void {
    this.#unsubscribe();
    this.#stop.abort();
    for (const look of this.#looks.values()) look.cancel();
  }

  /** A pool is new, or wanted otherwise: what its settings lack is known before a machine is needed. */
  #begin(spec: PoolSpec): void {
    this.#look(spec.name, { soon: true });
    void this.#gate.pass(async () => {
      try {
        await this.#withDeadline(async (signal) => (await this.#options.providerOf(spec)).check(signal));
        this.#troubles.delete(spec.name);
      } catch (error) {
        this.#trouble(spec.name, error);
      }
    });
  }

  async #pursue(instanceId: InstanceId): Promise<void> {
    if (this.#pursued.has(instanceId)) return;
    this.#pursued.add(instanceId);
    try {
      for (let failureCount = 0; !this.#stop.signal.aborted; ) {
        const instance = this.#options.engine.view.instances.get(instanceId);
        const order = instance && orderOf(instance);
        if (!instance || !order || this.#isTaken(instance)) return;
        if (await this.#gate.pass(() => this.#carryOut(instance, order))) failureCount = 0;
        else {
          failureCount += 1;
          await sleep(this.#options.clock, backoffMs(RETRY, failureCount, this.#options.random));
        }
      }
    } finally {
      this.#pursued.delete(instanceId);
    }
  }

  /** Was the same order given already, and not so long ago? */
  #isTaken({ id, phase }: Instance): boolean {
    const takenAt = this.#takenAt.get(id);
    return takenAt !== undefined && takenAt >= phase.since && this.#options.clock.now() - takenAt < REPEAT_MS;
  }

  /** False when nobody knows what became of the order, and it has to be given again. */
  async #carryOut(instance: Instance, order: MachineOrder): Promise<boolean> {
    const { engine, log } = this.#options;
    const { id: instanceId, pool } = instance;
    try {
      const ref = await this.#tell(instance, order);
      this.#troubles.delete(pool);
      this.#takenAt.set(instanceId, this.#options.clock.now());
      log.info('machine ordered', { instanceId, order, pool });
      if (ref !== undefined) await engine.handle({ type: 'machineCreated', instanceId, ref });
      this.#look(pool, { soon: true });
      return true;
    } catch (error) {
      this.#trouble(pool, error, { instanceId, order });
      if (!(error instanceof ProviderError) || error.fault === 'unavailable') return false;
      const { fault, message } = error;
      await engine.handle({ type: 'machineRefused', instanceId, order, fault, message }).catch(() => {});
      return order !== 'terminate' || fault === 'not-found';
    }
  }

  /** The provider's name for a new machine; undefined for other orders. */
  async #tell(instance: Instance, order: MachineOrder): Promise<string | undefined> {
    const { id: instanceId, pool, nodeId, ref } = instance;
    const spec = this.#options.engine.view.pools.get(pool)?.spec;
    if (!spec) throw new ProviderError('configuration', `there is no pool ${pool}`);
    const provider = await this.#options.providerOf(spec);
    if (order === 'create') {
      const { cluster, ticketFor } = this.#options;
      const labels = { ...spec.node.labels, [POOL_LABEL]: pool };
      const wanted = { cluster, instanceId, pool, nodeId, shape: spec.node, labels, join: ticketFor(nodeId) };
      return (await this.#withDeadline((signal) => provider.create(wanted, signal))).ref;
    }
    if (order === 'suspend' && !provider.traits.canSuspend) {
      throw new ProviderError('configuration', `provider ${spec.provider.kind} cannot suspend; set onIdle: terminate`);
    }
    // Given up before its provider had told of it: if there is such a machine, it is found by its tag.
    if (ref !== null) await this.#withDeadline((signal) => provider[order](ref, signal));
    return undefined;
  }

  async #endOrphan(pool: string, ref: string): Promise<void> {
    const spec = this.#options.engine.view.pools.get(pool)?.spec;
    if (!spec) return;
    this.#options.log.warn('a machine that nobody wants is terminated', { pool, ref });
    try {
      const provider = await this.#options.providerOf(spec);
      await this.#gate.pass(() => this.#withDeadline((signal) => provider.terminate(ref, signal)));
    } catch (error) {
      // It is found again by the next look.
      this.#trouble(pool, error, { ref });
    }
  }

  #look(pool: string, { soon }: { readonly soon: boolean }): void {
    const look = this.#looks.get(pool) ?? { count: 0, cancel: () => {} };
    if (soon) look.count = 0;
    look.count += 1;
    look.cancel();
    const { clock, random } = this.#options;
    const pauseMs = soon || this.#isMoving(pool) ? backoffMs(LOOK, look.count, random) : LOOK_AT_REST_MS;
    look.cancel = clock.after(pauseMs, () => void this.#list(pool));
    this.#looks.set(pool, look);
  }

  /** Is there a machine that is expected to appear, to go or to park? */
  #isMoving(pool: string): boolean {
    for (const { pool: own, phase } of this.#options.engine.view.instances.values()) {
      if (own === pool && (phase.kind === 'requested' || phase.kind === 'stopping')) return true;
    }
    return false;
  }

  async #list(pool: string): Promise<void> {
    const { engine, cluster, clock } = this.#options;
    const spec = engine.view.pools.get(pool)?.spec;
    if (!spec || this.#stop.signal.aborted) {
      this.#looks.delete(pool);
      return;
    }
    const askedAt = clock.now();
    try {
      const provider = await this.#options.providerOf(spec);
      const machines = await this.#withDeadline((signal) => provider.list(cluster, signal));
      await engine.handle({ type: 'machinesListed', pool, machines, askedAt });
      this.#forget();
      for (const { id, pool: own } of engine.view.instances.values()) if (own === pool) void this.#pursue(id);
    } catch (error) {
      this.#trouble(pool, error);
    }
    this.#look(pool, { soon: false });
  }

  #forget(): void {
    const { instances } = this.#options.engine.view;
    for (const id of this.#takenAt.keys()) if (!instances.has(id)) this.#takenAt.delete(id);
  }

  #trouble(pool: string, error: unknown, context: Readonly<Record<string, string>> = {}): void {
    if (this.#stop.signal.aborted) return;
    const fault = error instanceof ProviderError ? error.fault : 'unavailable';
    const message = error instanceof Error ? error.message : String(error);
    this.#troubles.set(pool, `${fault}: ${message}`);
    this.#options.log.warn('provider did not do as told', { pool, ...context, fault, reason: message });
  }

  /** A provider that never answers is taken for one that cannot be reached. */
  #withDeadline<T>(work: (signal: AbortSignal) => Promise<T>): Promise<T> {
    const deadline = new AbortController();
    return new Promise<T>((resolve, reject) => {
      const cancel = this.#options.clock.after(OPERATOR_LIMITS.orderMs, () => {
        deadline.abort();
        reject(new ProviderError('unavailable', `no answer within ${OPERATOR_LIMITS.orderMs / 1_000} s`));
      });
      work(AbortSignal.any([this.#stop.signal, deadline.signal]))
        .then(resolve, reject)
        .finally(cancel);
    });
  }
}

interface Look {
  /** Looks in a row while something was on its way. */
  count: number;
  cancel: Cancel;
}
