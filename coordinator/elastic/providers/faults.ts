import { didYouMean } from '../../../shared/suggest.js';
import { ProviderError, type ProviderFault } from '../provider.js';

/** What a cloud's error code means. */
export interface FaultRow {
  readonly fault: ProviderFault;
  /** The setting that is to blame. */
  readonly setting?: string;
  /** What a person can do. */
  readonly remedy?: string;
}

export type FaultTable = Readonly<Record<string, FaultRow>>;

/** What a cloud said of its refusal. */
export interface CloudWords {
  readonly code: string;
  readonly message: string;
}

/** The error to throw for a refusal: setting, its value, the cloud's own words, the remedy. */
export function faultOf(row: FaultRow, words: CloudWords, settings: Readonly<Record<string, unknown>>): ProviderError {
  const { fault, setting, remedy } = row;
  const value = setting === undefined ? undefined : settings[setting];
  const place = setting === undefined ? '' : `${setting}${value === undefined ? '' : ` ${JSON.stringify(value)}`}: `;
  const text = words.message === '' ? words.code : `${words.message.replace(/\.\s*$/, '')} (${words.code})`;
  return new ProviderError(fault, `${place}${text}${remedy === undefined ? '' : `; ${remedy}`}`);
}

/**
 * The error to throw for a setting that names what the cloud does not have.
 *
 * @param remedy what a person can do, or the names of what there is
 */
export function noSuch(
  setting: string,
  value: string,
  { remedy, cause }: { readonly remedy: string | readonly string[]; readonly cause?: unknown },
): ProviderError {
  const advice =
    typeof remedy === 'string' ? `; ${remedy}` : didYouMean(value, remedy) || `; there are ${remedy.join(', ')}`;
  return new ProviderError('configuration', `${setting} "${value}": there is no such ${setting}${advice}`, cause);
}

/** What an answer means whose code no table has. */
export function faultOfStatus(status: number): FaultRow {
  if (status === 401 || status === 403) return { fault: 'credentials' };
  if (status === 404) return { fault: 'not-found' };
  // Time-outs, conflicts with what is under way, throttling: later it may be different.
  if (status === 408 || status === 409 || status === 423 || status === 429 || status >= 500)
    return { fault: 'unavailable' };
  return { fault: 'configuration' };
}
