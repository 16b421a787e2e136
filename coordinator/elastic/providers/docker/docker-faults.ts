import { ProviderError, type ProviderFault } from '../../provider.js';

/** The HTTP status of Docker's answer; undefined when there was none. */
export function statusOf(error: unknown): number | undefined {
  return (error as { statusCode?: number }).statusCode;
}

/** Docker's refusal, in its own words. No answer, and an answer that is Docker's own failure, leave everything open. */
export function dockerFault(error: unknown): unknown {
  const status = statusOf(error);
  if (error instanceof ProviderError || status === undefined) return error;
  const { json, message } = error as { json?: { message?: unknown }; message?: unknown };
  const text = typeof json?.message === 'string' ? json.message : String(message);
  return new ProviderError(faultOf(status, text), `docker: ${text.trim()}`, error);
}

function faultOf(status: number, text: string): ProviderFault {
  if (/no space left/i.test(text)) return 'capacity';
  if (status === 401 || status === 403) return 'credentials';
  // 409: it is being restarted or removed just now.
  if (status === 409) return 'unavailable';
  return status >= 400 && status < 500 ? 'configuration' : 'unavailable';
}
