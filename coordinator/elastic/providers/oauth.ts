import { isRecord } from '../../../shared/job-spec/findings.js';
import { ProviderError } from '../provider.js';
import type { Grant } from './bearer.js';
import { exchange, isSuccess, jsonOf, type Patience } from './http.js';

const MS = 1_000;
const DEFAULT_LIFE_S = 300;

/**
 * A token of an OAuth 2 token endpoint.
 *
 * @param remedy what to do when it refuses, after its own words
 */
export async function askForToken(
  url: string,
  form: Readonly<Record<string, string>>,
  { remedy, clock, signal }: Patience & { readonly remedy: string },
): Promise<Grant<string>> {
  const headers = { 'content-type': 'application/x-www-form-urlencoded' };
  const order = { method: 'POST', url, headers, body: new URLSearchParams(form).toString(), clock, signal } as const;
  const answer = await exchange({ ...order, harmless: [503] });
  if (answer.status >= 500) throw new ProviderError('unavailable', `${url} answers HTTP ${answer.status}`);
  const document = jsonOf(answer, url);
  const said = isRecord(document) ? document : {};
  if (isSuccess(answer.status) && typeof said.access_token === 'string') {
    const lifeS = Number(said.expires_in);
    return { value: said.access_token, lifeMs: (lifeS > 0 ? lifeS : DEFAULT_LIFE_S) * MS };
  }
  const words =
    [said.error_description, said.error].find((each) => typeof each === 'string') ?? `HTTP ${answer.status}`;
  throw new ProviderError('credentials', `no token from ${url}: ${words}; ${remedy}`);
}
