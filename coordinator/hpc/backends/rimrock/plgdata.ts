import { isRecord } from '../../../../shared/job-spec/findings.js';
import { HpcError } from '../../backend.js';
import type { PlgDataPlace } from '../../target.js';
import { parseJson } from '../http-client.js';
import type { Credential } from '../means.js';
import { callPlgrid, type PlgridCall, type PlgridService } from './plgrid-call.js';

/**
 * PLGrid's PLGData, which carries whole files over HTTP. Sources: its public description (/list, /download, /upload, with
 * the proxy in a header) and, for /remove, what Rimrock itself asks of it.
 */
export interface PlgData {
  /** Whether the folder can be looked at, which is all that is made of its listing. */
  list(folder: string, signal: AbortSignal): Promise<void>;
  download(path: string, signal: AbortSignal): Promise<Buffer>;
  /** Into a folder that is there. */
  upload(path: string, bytes: Uint8Array, signal: AbortSignal): Promise<void>;
  remove(path: string, signal: AbortSignal): Promise<void>;
}

export function plgData({ endpoint, site }: PlgDataPlace, credential: Credential): PlgData {
  const call = (
    what: string,
    path: string,
    request: Omit<PlgridCall, 'path'>,
    signal: AbortSignal,
  ): Promise<Buffer> => {
    const service: PlgridService = {
      endpoint,
      credential,
      failure: (status, body) => failure(`/${what} of ${path} at ${site}`, status, body),
    };
    return callPlgrid(service, { ...request, path: `/${what}/${site}${encodeURI(path)}` }, signal);
  };
  return {
    list: async (folder, signal) => {
      const answer = parseJson(await call('list', folder, { method: 'GET' }, signal));
      if (!Array.isArray(answer))
        throw new HpcError('configuration', `${endpoint} does not list folders as PLGData does`);
    },
    download: (path, signal) => call('download', path, { method: 'GET' }, signal),
    upload: async (path, bytes, signal) => {
      const at = path.lastIndexOf('/');
      await call('upload', path.slice(0, at), { method: 'POST', ...(await asForm(bytes, path.slice(at + 1))) }, signal);
    },
    remove: async (path, signal) => {
      await call('remove', path, { method: 'DELETE' }, signal);
    },
  };
}

/** A form whose one field is the file (RFC 7578). */
async function asForm(bytes: Uint8Array, name: string): Promise<Pick<PlgridCall, 'headers' | 'body'>> {
  const form = new FormData();
  form.set('file', new Blob([bytes]), name);
  const encoded = new Response(form);
  const headers = { 'content-type': encoded.headers.get('content-type') ?? '' };
  return { headers, body: new Uint8Array(await encoded.arrayBuffer()) };
}

const PAYLOAD_TOO_LARGE = 413;

function failure(doing: string, status: number, body: Buffer): HpcError {
  const answer = parseJson(body);
  const said = isRecord(answer) && typeof answer.error === 'string' ? answer.error : '';
  const text = `PLGData answers ${status} to ${doing}${said === '' ? '' : `: ${said}`}`;
  if (status === 401 || status === 403 || /proxy|certificate/i.test(said))
    return new HpcError('credentials', `${text}; renew the proxy`);
  if (status === 404) return new HpcError('configuration', `${text}; is "plgdata.site" right, and "stagingRoot"?`);
  if (status === PAYLOAD_TOO_LARGE) return new HpcError('configuration', `${text}: it takes no piece as large as that`);
  return new HpcError(status >= 500 ? 'unavailable' : 'configuration', text);
}
