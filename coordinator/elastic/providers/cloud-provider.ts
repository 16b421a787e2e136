import {
  type CreateOrder,
  type InstanceProvider,
  type Machine,
  type MachineState,
  ProviderError,
  type ProviderTraits,
} from '../provider.js';
import { guarded } from './provider-call.js';

/** What is particular to a cloud: orders to `Access`, which is whatever they need to reach it. */
export interface CloudOrders<Access, Found extends FoundMachine> {
  check(cloud: Access, signal: AbortSignal): Promise<void>;
  /** The new machine's `ref`. What an order to make does not find is taken for a setting that is wrong. */
  create(cloud: Access, order: CreateOrder, signal: AbortSignal): Promise<string>;
  list(cloud: Access, cluster: string, signal: AbortSignal): Promise<readonly Machine[]>;
  /** Undefined when there is no such machine. */
  find(cloud: Access, ref: string, signal: AbortSignal): Promise<Found | undefined>;
  /** Of a machine that is on. */
  suspend(cloud: Access, machine: Found, signal: AbortSignal): Promise<void>;
  /** Of a machine that rests. */
  resume(cloud: Access, machine: Found, signal: AbortSignal): Promise<void>;
  /** May reject with `not-found`. */
  terminate(cloud: Access, ref: string, signal: AbortSignal): Promise<void>;
}

export interface FoundMachine {
  readonly ref: string;
  readonly state: MachineState;
}

/** Looks at a machine before it is turned: so every order is idempotent, and none goes to a machine that is gone. */
export function cloudProvider<Access, Found extends FoundMachine>(
  cloud: Access,
  traits: ProviderTraits,
  orders: CloudOrders<Access, Found>,
): InstanceProvider {
  const live = async (ref: string, signal: AbortSignal): Promise<Found> => {
    const machine = await orders.find(cloud, ref, signal);
    if (machine !== undefined && machine.state !== 'terminating') return machine;
    throw new ProviderError('not-found', `there is no machine ${ref} any more`);
  };
  return guarded({
    traits,
    check: (signal) => orders.check(cloud, signal),
    create: async (order, signal) => ({ ref: await orders.create(cloud, order, signal).catch(blameSettings) }),
    list: (cluster, signal) => orders.list(cloud, cluster, signal),
    suspend: async (ref, signal) => {
      const machine = await live(ref, signal);
      if (machine.state !== 'suspended' && machine.state !== 'suspending') await orders.suspend(cloud, machine, signal);
    },
    resume: async (ref, signal) => {
      const machine = await live(ref, signal);
      if (machine.state === 'suspended') await orders.resume(cloud, machine, signal);
      if (machine.state !== 'suspending') return;
      throw new ProviderError('unavailable', `machine ${ref} is still being suspended`);
    },
    terminate: (ref, signal) => orders.terminate(cloud, ref, signal).catch(ignoreAbsence),
  });
}

function blameSettings(error: unknown): never {
  if (!(error instanceof ProviderError && error.fault === 'not-found')) throw error;
  throw new ProviderError('configuration', error.message, error);
}

function ignoreAbsence(error: unknown): void {
  if (!(error instanceof ProviderError && error.fault === 'not-found')) throw error;
}
