import type { EpochMs } from './clock.js';

/**
 * What a node tells of a driver that it has and cannot use for now, as the attribute of the driver's name: the driver is
 * then not among those it offers, and what waits for it is not impossible.
 */
export function awayAttribute(driver: string, since: EpochMs): Readonly<Record<string, string>> {
  return { [driver]: `${AWAY} since ${new Date(since).toISOString().replace(/\.\d+/, '')}` };
}

/** "away since …", or undefined when the node tells nothing of the kind. */
export function awayText(attributes: Readonly<Record<string, string>>, driver: string): string | undefined {
  const text = attributes[driver];
  return text?.startsWith(AWAY) ? text : undefined;
}

const AWAY = 'away';
