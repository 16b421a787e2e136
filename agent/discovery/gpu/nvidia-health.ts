import type { EccErrors } from './gpu.js';
import type { PageElement } from './page-tree.js';
import { readCount } from './quantity.js';

/** Fields that say "Yes" when a GPU should be given no more work, and what that means. */
const ALARMS: readonly (readonly [path: readonly string[], meaning: string])[] = [
  [['gpu_reset_status', 'reset_required'], 'it must be reset'],
  [['gpu_reset_status', 'drain_and_reset_recommended'], 'it should be drained and reset'],
  [['remapped_rows', 'remapped_row_failure'], 'a defective memory row could not be replaced'],
  [['remapped_rows', 'remapped_row_pending'], 'a defective memory row is replaced at the next reset'],
  [['retired_pages', 'pending_retirement'], 'a defective memory page is retired at the next reset'],
  [['retired_pages', 'pending_blacklist'], 'a defective memory page is retired at the next reset'],
  [['ecc_errors', 'aggregate', 'sram_threshold_exceeded'], 'its on-chip memory has had too many errors'],
  [['ecc_errors', 'unrepairable_memory'], 'its memory cannot be repaired'],
  [['ecc_errors', 'channel_repair_pending'], 'a memory channel is repaired at the next reset'],
  [['ecc_errors', 'tpc_repair_pending'], 'a processor cluster is repaired at the next reset'],
];

/** Fields whose place is taken by a cry for help when the driver no longer reaches the device. */
const PULSE: readonly (readonly string[])[] = [
  ['product_name'],
  ['uuid'],
  ['fb_memory_usage', 'total'],
  ['fb_memory_usage', 'used'],
  ['utilization', 'gpu_util'],
  ['temperature', 'gpu_temp'],
  ['compute_mode'],
];
const CRY = /gpu is lost|requires reset|unknown error|fallen off the bus/i;

/**
 * Why a GPU should take no task, one sentence each; none while it is healthy.
 *
 * Corrected errors, retired pages and replaced rows of the past are no reason: the device has dealt with them.
 */
export function faultsOf(gpu: PageElement): readonly string[] {
  const faults = new Set<string>();
  for (const path of PULSE) {
    const text = gpu.text(...path);
    if (text !== null && CRY.test(text)) faults.add(`nvidia-smi says: ${text.replace(/^\[|\]$/g, '')}`);
  }
  const action = gpu.text('gpu_recovery_action');
  if (action !== null && !isNone(action)) faults.add(`the driver asks for: ${action}`);
  for (const [path, meaning] of ALARMS) if (isYes(gpu.text(...path))) faults.add(meaning);
  const errors = eccOf(gpu).volatileUncorrectable;
  if (errors) faults.add(`uncorrectable memory errors since the driver was loaded: ${errors}`);
  if (/^prohibited$/i.test(gpu.text('compute_mode') ?? '')) faults.add('its compute mode is Prohibited');
  const fabric = fabricFault(gpu.child('fabric'));
  if (fabric !== undefined) faults.add(fabric);
  return [...faults];
}

/** Of a slice: errors in its own part of the device. */
export function sliceFaultsOf(slice: PageElement): readonly string[] {
  const errors = uncorrectableOf(slice.child('ecc_error_count', 'volatile_count'));
  return errors ? [`uncorrectable memory errors since the driver was loaded: ${errors}`] : [];
}

export function eccOf(gpu: PageElement): EccErrors {
  return {
    volatileUncorrectable: uncorrectableOf(gpu.child('ecc_errors', 'volatile')),
    aggregateUncorrectable: uncorrectableOf(gpu.child('ecc_errors', 'aggregate')),
  };
}

/** The sum of all kinds of them, whose names differ between schemas; null where none is counted. */
function uncorrectableOf(counts: PageElement): number | null {
  const texts = counts
    .entries()
    .filter(([name]) => /uncorrectable/.test(name))
    .map(([, count]) => count.text());
  const known = [...texts, counts.text('double_bit', 'total')].map(readCount).filter((count) => count !== null);
  return known.length === 0 ? null : known.reduce((sum, count) => sum + count, 0);
}

/** A GPU behind NVLink switches computes only when it has joined their fabric. */
function fabricFault(fabric: PageElement): string | undefined {
  const state = fabric.text('state');
  const status = fabric.text('status');
  if (state !== null && /^(not started|in progress)$/i.test(state)) return `its NVLink fabric is not ready: ${state}`;
  if (status !== null && !/^(success|not started|in progress)$/i.test(status)) return `its NVLink fabric: ${status}`;
  if (/^unhealthy$/i.test(fabric.text('health', 'summary') ?? '')) return 'its NVLink fabric is unhealthy';
  return undefined;
}

function isYes(text: string | null): boolean {
  return text !== null && /^(yes|true)$/i.test(text);
}

function isNone(text: string): boolean {
  return /^none$/i.test(text);
}
