import { isRecord } from '../../../../shared/job-spec/findings.js';
import { HpcError } from '../../backend.js';
import { parseJson } from '../http-client.js';
import type { Credential } from '../means.js';
import { slurmErrorKind } from '../slurm/slurm-errors.js';
import { callPlgrid, type PlgridService } from './plgrid-call.js';

export interface RimrockCall {
  readonly method: 'GET' | 'POST' | 'PUT';
  readonly path: string;
  readonly body?: unknown;
}

export function rimrockService(endpoint: string, credential: Credential): PlgridService {
  return { endpoint, credential, failure };
}

/** What Rimrock answers, as parsed from JSON; undefined when it is none. */
export async function callRimrock(
  service: PlgridService,
  { method, path, body }: RimrockCall,
  signal: AbortSignal,
): Promise<unknown> {
  const content =
    body === undefined ? {} : { headers: { 'content-type': 'application/json' }, body: JSON.stringify(body) };
  return parseJson(await callPlgrid(service, { method, path, ...content }, signal));
}

function failure(status: number, body: Buffer): HpcError {
  const answer = parseJson(body);
  const texts = isRecord(answer) ? [answer.error_message, answer.error_output] : [];
  const said = texts.filter((text) => typeof text === 'string' && text !== '').join(' / ');
  if (status === 401 || status === 403)
    return new HpcError('credentials', `Rimrock does not take the proxy: ${said || status}`);
  if (status === 404) return new HpcError('unknown-job', said || 'Rimrock knows no such job');
  if (status === 408) return new HpcError('unavailable', `Rimrock gave up waiting: ${said || status}`);
  if (said === '') return new HpcError('unavailable', `Rimrock answers ${status}`);
  return new HpcError(/proxy|certificate/i.test(said) ? 'credentials' : slurmErrorKind(said), said);
}
