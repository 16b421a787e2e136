import { AppError } from '../../../shared/errors.js';
import { silentLog } from '../../../shared/log.js';
import type { GpuDevice } from '../../../shared/resources.js';
import { GpuFiles } from './gpu-files.js';
import type { Decisions } from './quarantine.js';

/** What an operator wants of a device: `berth agent gpu out 2 "fan is loud"`. */
export type GpuOrder =
  | { readonly verb: 'list' }
  | { readonly verb: 'out'; readonly device: string; readonly reason: string }
  | { readonly verb: 'in'; readonly device: string };

/**
 * Writes the decision where the agent of this state directory reads it at its next look; works without an agent too.
 *
 * @returns what to show the operator
 * Throws: `not-found` for an unknown device, `store-unavailable` when the decision cannot be written.
 */
export function carryOut(order: GpuOrder, stateDir: string): string {
  const files = new GpuFiles(stateDir, silentLog);
  const devices = (files.readNotes()?.gpus ?? []).flatMap((gpu) => gpu.devices);
  const decisions = files.readDecisions();
  if (order.verb === 'list') return listText(devices, decisions);
  const device = devices.find(({ index, uuid }) => String(index) === order.device || uuid === order.device);
  if (!device) {
    throw new AppError('not-found', `the agent of ${stateDir} knows no GPU ${order.device}`, {
      hint:
        devices.length > 0 ? `it knows ${devices.map(({ index }) => index).join(', ')}` : 'has it run, and found one?',
    });
  }
  try {
    files.writeDecisions(decided(decisions, device, order));
  } catch (cause) {
    throw new AppError('store-unavailable', `the decision cannot be written: ${(cause as Error).message}`, { cause });
  }
  return `GPU ${device.index} (${device.uuid}) ${outcomeOf(device, order)}`;
}

function decided(
  decisions: Decisions,
  { uuid, fault }: GpuDevice,
  order: Exclude<GpuOrder, { verb: 'list' }>,
): Decisions {
  const { [uuid]: _, ...others } = decisions;
  if (order.verb === 'out') return { ...others, [uuid]: { kind: 'out', reason: order.reason } };
  return fault === undefined ? others : { ...others, [uuid]: { kind: 'in', fault } };
}

function outcomeOf({ fault }: GpuDevice, order: Exclude<GpuOrder, { verb: 'list' }>): string {
  if (order.verb === 'out') return 'is taken out of use; what runs on it goes on';
  return fault === undefined ? 'takes tasks' : `takes tasks in spite of this, and of nothing else: ${fault}`;
}

function listText(devices: readonly GpuDevice[], decisions: Decisions): string {
  if (devices.length === 0) return 'no GPU is known';
  return devices
    .map(({ index, uuid, model, fault }) => {
      const decision = Object.hasOwn(decisions, uuid) ? decisions[uuid] : undefined;
      const word = decision?.kind === 'out' ? `taken out of use: ${decision.reason}` : (fault ?? 'healthy');
      return `${index}  ${uuid}  ${model}  ${word}${decision?.kind === 'in' ? ' (released by the operator)' : ''}`;
    })
    .join('\n');
}
