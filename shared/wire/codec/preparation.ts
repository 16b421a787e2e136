import type { AttemptPreparation } from '../../preparation.js';
import { whole } from './amounts.js';
import * as field from './fields.js';
import type { WirePreparation } from './generated.js';

export function preparationToWire({ allocationId, preparation }: AttemptPreparation): WirePreparation {
  if (preparation.kind === 'staging') return { allocationId, kind: preparation.kind };
  const { kind, image, bytes, totalBytes } = preparation;
  return { allocationId, kind, image, bytes: whole(bytes), totalBytes: whole(totalBytes) };
}

/** Empty for a kind that this version does not know. */
export function preparationFromWire(wire: WirePreparation, where: string): readonly AttemptPreparation[] {
  const allocationId = field.allocationId(wire.allocationId, `${where}.allocationId`);
  if (wire.kind === 'staging') return [{ allocationId, preparation: { kind: 'staging' } }];
  if (wire.kind !== 'pulling') return [];
  const bytes = field.count(wire.bytes, `${where}.bytes`);
  const totalBytes = field.count(wire.totalBytes, `${where}.totalBytes`);
  return [{ allocationId, preparation: { kind: 'pulling', image: wire.image ?? '', bytes, totalBytes } }];
}
