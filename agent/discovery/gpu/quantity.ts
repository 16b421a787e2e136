/** An amount with its unit, as tools print it: `15360 MiB`, `26.78 W`, `40 C`, `65 %`. */
const QUANTITY = /^\[?(-?\d+(?:\.\d+)?)\s*([A-Za-z%°/]*)\]?$/;

const MIB_IN: Readonly<Record<string, number>> = {
  b: 1 / 1024 ** 2,
  bytes: 1 / 1024 ** 2,
  kib: 1 / 1024,
  mib: 1,
  gib: 1024,
  tib: 1024 ** 2,
  kb: 1e3 / 1024 ** 2,
  mb: 1e6 / 1024 ** 2,
  gb: 1e9 / 1024 ** 2,
  tb: 1e12 / 1024 ** 2,
};
const WATTS_IN: Readonly<Record<string, number>> = { mw: 0.001, w: 1, kw: 1_000 };

/** Whole MiB; null for no amount or an unknown unit. A bare number counts MiB, the tools' own unit. */
export function readMiB(text: string | null): number | null {
  const found = readQuantity(text);
  const factor = found && (found.unit === '' ? 1 : MIB_IN[found.unit]);
  return found && factor && found.value >= 0 ? Math.round(found.value * factor) : null;
}

export function readWatts(text: string | null): number | null {
  const found = readQuantity(text);
  const factor = found && (found.unit === '' ? 1 : WATTS_IN[found.unit]);
  return found && factor && found.value >= 0 ? hundredths(found.value * factor) : null;
}

export function readCelsius(text: string | null): number | null {
  const found = readQuantity(text);
  switch (found?.unit.replace('°', '')) {
    case '':
    case 'c':
      return found.value;
    case 'f':
      return hundredths(((found.value - 32) * 5) / 9);
    case 'k':
      return hundredths(found.value - 273.15);
    default:
      return null;
  }
}

export function readPercent(text: string | null): number | null {
  const found = readQuantity(text);
  return found && (found.unit === '%' || found.unit === '') && found.value >= 0 ? found.value : null;
}

/** A count; null for anything else. */
export function readCount(text: string | null): number | null {
  return text !== null && /^\d{1,15}$/.test(text) ? Number(text) : null;
}

function readQuantity(text: string | null): { readonly value: number; readonly unit: string } | null {
  const match = text === null ? null : QUANTITY.exec(text);
  return match ? { value: Number(match[1]), unit: (match[2] ?? '').toLowerCase() } : null;
}

function hundredths(value: number): number {
  return Math.round(value * 100) / 100;
}
