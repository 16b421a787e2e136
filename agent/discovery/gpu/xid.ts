import type { Decisions } from './quarantine.js';

/**
 * Xid codes after which NVIDIA's catalogue wants the device reset, the machine booted or the card looked at, in words.
 *
 * All others end or disturb one program (13, 31, 43, 45, 68, 94), tell of what the page tells better (63: a memory row to
 * be replaced at the next reset; 144 to 150: NVLink; 154: the recovery action), or ask for nothing now (92).
 */
const DEVICE_FAULTS: ReadonlyMap<number, string> = new Map([
  [46, 'it stopped processing'],
  [48, 'an uncorrectable memory error'],
  [62, 'its internal controller has halted'],
  [64, 'a defective memory page or row could not be replaced'],
  [74, 'an NVLink error'],
  [79, 'it has fallen off the bus'],
  [95, 'a memory error that was not contained'],
  [109, 'a context switch timed out'],
  [110, 'a security fault'],
  [119, 'its system processor does not answer'],
  [120, 'an error of its system processor'],
  [136, 'its links could not be trained'],
  [140, 'an unrecoverable memory error'],
  [143, 'it could not be initialized'],
  [155, 'an NVLink error'],
  [156, 'a part of it is to be retired'],
  [158, 'a fatal timeout'],
  [160, 'a part of it is to be retired'],
]);

export const XID_MARK = 'NVRM: Xid';
const XID = /NVRM: Xid \((?:PCI:)?([0-9a-f]{4,8}:[0-9a-f]{2}:[0-9a-f]{2})[^)]*\): (\d+)/i;
/** Microseconds as /dev/kmsg has them, seconds as dmesg prints them. */
const RECORD_TIME = /^\d+,\d+,(\d+),/;
const PRINTED_TIME = /^\[\s*(\d+\.\d+)\]/;

/** The newest device fault of a GPU, and the one that is told: the first since the operator last released it. */
export interface XidFault {
  readonly told: string;
  readonly newest: string;
}

/** By PCI bus id, in the form of `busOf`. */
export type XidFaults = Readonly<Record<string, XidFault>>;

/** What is known after these lines of the kernel's. */
export function withXids(known: XidFaults, lines: readonly string[]): XidFaults {
  const faults: Record<string, XidFault> = { ...known };
  for (const line of lines) {
    const [, busId = '', code = ''] = XID.exec(line) ?? [];
    const meaning = DEVICE_FAULTS.get(Number(code));
    const bus = busOf(busId);
    if (meaning === undefined || bus === undefined) continue;
    const newest = `the kernel reports Xid ${code}: ${meaning}${timeIn(line)}`;
    faults[bus] = { told: faults[bus]?.told ?? newest, newest };
  }
  return faults;
}

/**
 * What is to be told of a GPU with these devices. One that the operator has let in since is told of what came after,
 * and of nothing as long as that is nothing: a fault that repeats itself is one fault until somebody has looked at it.
 */
export function toldOf(fault: XidFault, uuids: readonly string[], decisions: Decisions): XidFault {
  const isReleased = uuids.some((uuid) => {
    const decision = Object.hasOwn(decisions, uuid) ? decisions[uuid] : undefined;
    return decision?.kind === 'in' && decision.fault.includes(fault.told);
  });
  return isReleased ? { ...fault, told: fault.newest } : fault;
}

/** `0:3b:00` of `00000000:3B:00.0` and of `0000:3b:00`. */
export function busOf(busId: string): string | undefined {
  const [, domain, bus, device] = /^([0-9a-f]+):([0-9a-f]{2}):([0-9a-f]{2})(?:\.|$)/i.exec(busId) ?? [];
  if (domain === undefined) return undefined;
  return `${Number.parseInt(domain, 16).toString(16)}:${bus}:${device}`.toLowerCase();
}

/** The kernel's own clock is the same for every agent that reads the line. */
function timeIn(line: string): string {
  const microseconds = RECORD_TIME.exec(line)?.[1];
  const seconds = microseconds === undefined ? PRINTED_TIME.exec(line)?.[1] : Number(microseconds) / 1e6;
  return seconds === undefined ? '' : ` (${Number(seconds).toFixed(1)} s after boot)`;
}
