import type { EpochMs } from '../../../../shared/clock.js';
import { isRecord } from '../../../../shared/job-spec/findings.js';
import { parseJson } from '../http-client.js';

/** Whether a token says of itself that its time is over; what is no token at all is over too. It is not verified. */
export function isSpent(token: string, now: EpochMs): boolean {
  const [, claims] = token.split('.');
  const body = claims === undefined ? undefined : parseJson(Buffer.from(claims, 'base64url'));
  if (!isRecord(body)) return true;
  return typeof body.exp === 'number' && body.exp * 1_000 <= now;
}
