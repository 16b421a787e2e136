/** What a page says of a slice's size. */
export interface SliceSize {
  readonly multiprocessorCount: number | null;
  readonly memoryMiB: number | null;
}

export interface WholeSize {
  readonly architecture: string | null;
  readonly model: string;
  readonly memoryMiB: number | null;
}

/** Multiprocessors of one compute slice. */
const AMPERE = 14;
const HOPPER = 16;
const HOPPER_PCIE = 14;
const BLACKWELL = 18;
const MAX_SLICES = 7;
/** Memory is divided in eighths, whatever the compute slices are. */
const MEMORY_SLICES = 8;
const MIB_PER_GIB = 1_024;

/**
 * The name of a slice's profile, `1g.5gb`, from its size; the page does not give it.
 *
 * Gigabytes are eighths of the whole, rounded up, of its size in whole GiB, which is how the driver names them: a slice
 * of 4864 MiB of 40960 is `5gb`, one of 16384 MiB of 143771 is `18gb`.
 *
 * @param parts  slices of the same GPU instance, this one included: more than one and it is `1c.2g.10gb`
 */
export function profileOf(slice: SliceSize, whole: WholeSize, parts: readonly SliceSize[]): string {
  const own = slicesOf(slice, whole);
  const all = Math.min(
    MAX_SLICES,
    parts.reduce((sum, part) => sum + slicesOf(part, whole), 0),
  );
  const prefix = parts.length > 1 ? `${own}c.` : '';
  return `${prefix}${Math.max(own, all)}g.${gigabytesOf(slice.memoryMiB, whole.memoryMiB)}gb`;
}

function slicesOf({ multiprocessorCount }: SliceSize, { architecture, model }: WholeSize): number {
  if (multiprocessorCount === null) return 1;
  return Math.min(
    MAX_SLICES,
    Math.max(1, Math.floor(multiprocessorCount / multiprocessorsPerSlice(architecture, model))),
  );
}

function multiprocessorsPerSlice(architecture: string | null, model: string): number {
  if (/blackwell/i.test(architecture ?? '')) return BLACKWELL;
  if (/hopper/i.test(architecture ?? '') || /\bG?H[12]00\b/.test(model)) {
    return /pcie/i.test(model) ? HOPPER_PCIE : HOPPER;
  }
  return AMPERE;
}

function gigabytesOf(memoryMiB: number | null, wholeMiB: number | null): number {
  if (memoryMiB === null) return 0;
  if (wholeMiB === null || wholeMiB < memoryMiB) return Math.ceil(memoryMiB / MIB_PER_GIB);
  const eighths = Math.ceil((memoryMiB / wholeMiB) * MEMORY_SLICES);
  return Math.round((eighths / MEMORY_SLICES) * Math.ceil(wholeMiB / MIB_PER_GIB));
}
