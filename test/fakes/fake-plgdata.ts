import { existsSync } from 'node:fs';
import { readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import type { Test } from 'tap';

/** PLGData as its public description has it, before the disk of this machine. */
export interface FakePlgData {
  readonly url: string;
  readonly site: string;
  /** The proxy that is let in. */
  proxy: string;
  /** Answers with this status while it is set. */
  trouble: number | undefined;
  /** What was asked for, such as `download`. */
  readonly calls: string[];
}

export async function startPlgData(t: Pick<Test, 'teardown'>, proxy: string): Promise<FakePlgData> {
  const plgdata: FakePlgData = { url: '', site: 'ares', proxy, trouble: undefined, calls: [] };
  const server = createServer((request, response) => {
    answer(plgdata, request, response).catch((error: unknown) => {
      const { code, message } = error as NodeJS.ErrnoException;
      complain(response, code === 'ENOENT' ? 404 : 500, message);
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  t.teardown(() => {
    server.closeAllConnections();
    server.close();
  });
  return Object.assign(plgdata, { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}` });
}

async function answer(plgdata: FakePlgData, request: IncomingMessage, response: ServerResponse): Promise<void> {
  const body = await bytesOf(request);
  const { pathname } = new URL(request.url ?? '/', 'http://x');
  const [, what = '', site, rest = ''] = /^\/(\w+)\/(\w+)(\/.*)$/.exec(pathname) ?? [];
  const path = decodeURIComponent(rest);
  plgdata.calls.push(what);
  const given = Buffer.from(String(request.headers.proxy ?? ''), 'base64').toString();
  if (given.trim() !== plgdata.proxy) return complain(response, 403, 'the proxy has expired');
  if (plgdata.trouble !== undefined) return void response.writeHead(plgdata.trouble).end('<h1>Sorry</h1>');
  if (site !== plgdata.site) return complain(response, 404, `unknown site ${site}`);
  switch (`${request.method} ${what}`) {
    case 'GET list':
      return void response.end(JSON.stringify(await entriesOf(path)));
    case 'GET download':
      return void response.end(await readFile(path));
    case 'POST upload':
      return uploaded(path, request, { body, response });
    case 'DELETE remove':
      await rm(path);
      return void response.end();
    default:
      return complain(response, 404, `there is no ${request.method} ${what}`);
  }
}

async function entriesOf(folder: string): Promise<object[]> {
  const names = await readdir(folder);
  const common = { owner: 'me', group: 'plgrid', modification_date: 'Jan 1 10:00' };
  const entry = async (name: string): Promise<object> => {
    const found = await stat(join(folder, name));
    return { ...common, name, size: found.size, rights: 'drwxr-xr-x', is_dir: found.isDirectory() };
  };
  return Promise.all(names.map(entry));
}

interface Uploading {
  readonly body: Buffer;
  readonly response: ServerResponse;
}

async function uploaded(folder: string, request: IncomingMessage, { body, response }: Uploading): Promise<void> {
  const headers = { 'content-type': request.headers['content-type'] ?? '' };
  const file = (await new Response(body, { headers }).formData()).get('file');
  if (!(file instanceof File)) return complain(response, 422, 'there is no file');
  const path = join(folder, file.name);
  // Whether it replaces a file that is there is not described, so nobody may depend on it.
  if (existsSync(path)) return complain(response, 422, `${path} exists`);
  await writeFile(path, Buffer.from(await file.arrayBuffer()));
  response.end();
}

function complain(response: ServerResponse, status: number, error: string): void {
  response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify({ error }));
}

async function bytesOf(request: IncomingMessage): Promise<Buffer> {
  const pieces: Buffer[] = [];
  for await (const piece of request) pieces.push(piece as Buffer);
  return Buffer.concat(pieces);
}
