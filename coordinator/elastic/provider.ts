import type { Clock } from '../../shared/clock.js';
import type { Problem } from '../../shared/errors.js';
import type { InstanceId, NodeId } from '../../shared/ids.js';
import type { NodeShape } from '../../shared/pool.js';

/**
 * A maker of machines: a cloud, a hypervisor, a shelf of servers.
 *
 * Every machine carries a tag: the cluster's name and the instance's id. The tag is its identity for us, and the
 * idempotency token of its creation; `ref` is what the provider calls it. Orders resolve when the provider has *taken*
 * them; how far it has come is what `list` tells. All reject with `ProviderError`, and with nothing else; when the
 * signal is aborted with `unavailable`, and when it was before the call then nothing has been done.
 */
export interface InstanceProvider {
  readonly traits: ProviderTraits;

  /**
   * Proves that its settings work: that it can be reached, knows the credentials, the region, the image.
   * Changes nothing. Rejects with `configuration`, `credentials` or `unavailable`.
   */
  check(signal: AbortSignal): Promise<void>;

  /**
   * Makes a machine that boots and joins. Idempotent by its tag: asked again, it answers with the one machine there is,
   * on or suspended, or takes up where a failed call left off; it never makes a second one. After a rejection other
   * than `unavailable` there is no machine.
   */
  create(order: CreateOrder, signal: AbortSignal): Promise<{ readonly ref: string }>;

  /** Every machine with the cluster's tag, in any state but gone; also those that we know nothing of. */
  list(cluster: string, signal: AbortSignal): Promise<readonly Machine[]>;

  /** Idempotent; of a machine that is gone: `not-found`. May be retried after `unavailable`. */
  suspend(ref: string, signal: AbortSignal): Promise<void>;

  /** Idempotent; of a machine that is gone: `not-found`; when there is no room for it now: `capacity` or `quota`. */
  resume(ref: string, signal: AbortSignal): Promise<void>;

  /** Idempotent; of a machine that is gone it resolves. Whatever was made for the machine alone goes with it. */
  terminate(ref: string, signal: AbortSignal): Promise<void>;
}

/** What suspending a machine means with this provider. */
export interface ProviderTraits {
  /** False: `suspend` is never asked of it, and pools with `onIdle: suspend` are refused. */
  readonly canSuspend: boolean;
  /** What goes on being paid while suspended, in words for people. */
  readonly suspendedBilling: string;
  /** Does a suspended machine count against the provider's quota? */
  readonly suspendedCountsInQuota: boolean;
  /** Does memory survive (the agent goes on where it was), or is a resume a boot? */
  readonly suspendKeepsMemory: boolean;
}

export interface CreateOrder {
  readonly cluster: string;
  readonly instanceId: InstanceId;
  readonly pool: string;
  /** The name under which its agent has to join. */
  readonly nodeId: NodeId;
  /** What its node has to offer, for providers that can make a machine of any size; its labels are in `labels`. */
  readonly shape: NodeShape;
  /** All that its agent has to report, that of its pool too. */
  readonly labels: Readonly<Record<string, string>>;
  /** How its agent reaches the coordinator, and the token that lets it in once. */
  readonly join: JoinTicket;
}

/** How an agent reaches the coordinator. */
export interface JoinAddress {
  readonly url: string;
  /** Certificates (PEM) that it is to trust there; null: those of its system. */
  readonly ca: string | null;
}

export interface JoinTicket extends JoinAddress {
  /** Good for one node of this name, and for a limited time. */
  readonly token: string;
}

/** A machine as its provider sees it. */
export interface Machine {
  readonly ref: string;
  /** From its tag. */
  readonly instanceId: InstanceId;
  readonly pool: string;
  readonly state: MachineState;
}

export type MachineState = 'starting' | 'running' | 'suspending' | 'suspended' | 'terminating';

/**
 * Why a provider did not do as told.
 *
 * `quota` and `capacity`: not now, others may be able to. `credentials` and `configuration`: not before a person has
 * changed something. `not-found`: there is no such machine. `unavailable`: no answer, or not a final one, so nobody
 * knows whether it was done; ask again, or look.
 */
export type ProviderFault = 'quota' | 'capacity' | 'credentials' | 'configuration' | 'not-found' | 'unavailable';

export class ProviderError extends Error {
  override readonly name = 'ProviderError';
  readonly fault: ProviderFault;

  constructor(fault: ProviderFault, message: string, cause?: unknown) {
    super(message, cause === undefined ? undefined : { cause });
    this.fault = fault;
  }
}

/** Settings with which there can be no provider, whatever it would say; each problem by the name of its setting. */
export class SettingsError extends ProviderError {
  readonly problems: readonly Problem[];

  constructor(kind: string, problems: readonly Problem[]) {
    super('configuration', problems.map(({ field, message }) => `provider ${kind}: ${field}: ${message}`).join('\n'));
    this.problems = problems;
  }
}

/** How a provider is made from a pool's settings; throws `SettingsError`. */
export type ProviderFactory = (settings: Readonly<Record<string, unknown>>, world: ProviderWorld) => InstanceProvider;

/** What a provider may use beside its settings. */
export interface ProviderWorld {
  /** A folder of its own. */
  readonly stateDir: string;
  /** Value of a secret of the coordinator's, by name; undefined when there is none. */
  readonly secret: (name: string) => string | undefined;
  readonly environment: Readonly<Record<string, string | undefined>>;
  readonly clock: Clock;
}
