import type { GpuDevice } from '../../../shared/resources.js';

/** What an operator has decided of a device, by its UUID. */
export type Decision =
  /** It takes no task, whatever it says of itself. */
  | { readonly kind: 'out'; readonly reason: string }
  /** It takes tasks in spite of this fault; any other takes it out again. */
  | { readonly kind: 'in'; readonly fault: string };

export type Decisions = Readonly<Record<string, Decision>>;

/** Looks in a row that must find a device healthy before it takes tasks again, lest one that flickers eats a queue. */
export const HEALTHY_LOOKS = 3;

/** A device with a fault is out of use until it has recovered, or until the operator says otherwise. */
export class Quarantine {
  readonly #faulty = new Map<string, { readonly fault: string; healthyLooks: number }>();

  /** Devices as they are offered. Call once a look: it counts. */
  judge(devices: readonly GpuDevice[], decisions: Decisions): readonly GpuDevice[] {
    return devices.map((device) => {
      const { fault: _, ...healthy } = device;
      const fault = this.#faultOf(device);
      const decision = Object.hasOwn(decisions, device.uuid) ? decisions[device.uuid] : undefined;
      if (decision?.kind === 'out') return { ...healthy, fault: `taken out of use: ${decision.reason}` };
      if (fault === undefined || (decision?.kind === 'in' && decision.fault === fault)) return healthy;
      return { ...healthy, fault };
    });
  }

  #faultOf({ uuid, fault }: GpuDevice): string | undefined {
    if (fault !== undefined) {
      this.#faulty.set(uuid, { fault, healthyLooks: 0 });
      return fault;
    }
    const before = this.#faulty.get(uuid);
    if (before === undefined) return undefined;
    before.healthyLooks += 1;
    if (before.healthyLooks < HEALTHY_LOOKS) return before.fault;
    this.#faulty.delete(uuid);
    return undefined;
  }
}
