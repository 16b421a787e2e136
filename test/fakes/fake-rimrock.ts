import { execFile } from 'node:child_process';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { Test } from 'tap';
import { HpcError } from '../../coordinator/hpc/backend.js';
import { HPC_LIMITS } from '../../coordinator/hpc/remote-job.js';
import { FakeSite } from './fake-hpc.js';

const signal = new AbortController().signal;

/** Rimrock as its public description has it, before a site in memory. */
export interface FakeRimrock {
  readonly url: string;
  readonly site: FakeSite;
  /** The proxy that is let in. */
  proxy: string;
}

export async function startRimrock(t: Pick<Test, 'teardown'>, proxy: string): Promise<FakeRimrock> {
  const site = new FakeSite();
  const backend = site.open();
  const tags = new Set<string>();
  const listed = async (tag: string | null): Promise<object[]> => {
    const found = await Promise.all(
      [...tags].filter((each) => tag === null || each === tag).map((each) => backend.find(each, signal)),
    );
    return found.flat().map(({ id, tag: name, state, outcome }) => {
      const ended = outcome?.kind === 'canceled' ? 'ABORTED' : 'FINISHED';
      return { job_id: id, tag: name, status: state === 'ended' ? ended : state === 'pending' ? 'QUEUED' : 'RUNNING' };
    });
  };
  const server = createServer((request, response) => {
    answer(request, response).catch((error: unknown) => {
      const message = error instanceof Error ? error.message : String(error);
      const status = error instanceof HpcError && error.kind === 'refused' ? 422 : 500;
      json(response, status, { status: 'error', error_message: `sbatch: error: invalid: ${message}` });
    });
  });
  const answer = async (request: IncomingMessage, response: ServerResponse): Promise<void> => {
    const url = new URL(request.url ?? '/', 'http://x');
    const given = Buffer.from(String(request.headers.proxy ?? ''), 'base64')
      .toString()
      .trim();
    if (given !== rimrock.proxy) return json(response, 403, { error_message: 'proxy expired' });
    if (site.trouble) return void response.writeHead(502).end('<h1>Bad gateway</h1>');
    const id = /^\/api\/jobs\/(.+)$/.exec(url.pathname)?.[1];
    if (request.method === 'GET') return json(response, 200, await listed(url.searchParams.get('tag')));
    const body = JSON.parse(await text(request)) as Record<string, string>;
    if (url.pathname === '/api/process') return json(response, 200, await runCommand(body.command ?? ''));
    if (request.method === 'POST') {
      const option = (name: string): string | undefined =>
        new RegExp(`^#SBATCH --${name}=(.*)$`, 'm').exec(body.script ?? '')?.[1];
      const [partition, array] = [option('partition'), option('array')];
      const options = { ...(partition === undefined ? {} : { partition }), ...(array === undefined ? {} : { array }) };
      const { tag = '', working_directory: work = '', script = '' } = body;
      const jobId = await backend.submit({ tag, work, script, options }, signal);
      tags.add(tag);
      return json(response, 201, { job_id: jobId, status: 'QUEUED', tag });
    }
    if (![...(await backend.statusOf([id ?? ''], signal)).keys()].length) return json(response, 404, {});
    await backend.cancel(id ?? '', signal);
    response.writeHead(204).end();
  };
  const rimrock: FakeRimrock = { url: '', site, proxy };
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  t.teardown(() => {
    site.close();
    server.closeAllConnections();
    server.close();
  });
  return Object.assign(rimrock, { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}` });
}

/**
 * As the real one does it: the command stands between two others on one line, line ends are changed, blanks at the ends
 * are dropped, and without a line end before it the exit status is not seen.
 */
function runCommand(command: string): Promise<object> {
  const line = `unset HISTFILE; ${command}; echo " $?"; exit`;
  return new Promise((resolve) => {
    execFile('/bin/sh', ['-c', line], { maxBuffer: HPC_LIMITS.maxAnswerBytes }, (_, stdout) => {
      const [, printed = '', code = '0'] = /^((?:.*\n)*?.*?)(?:(?<=^|\n) (\d+)\n)?$/.exec(stdout) ?? [];
      const output = printed.replaceAll('\r\n', '\n').trim();
      resolve({
        status: 'OK',
        exit_code: Number(code),
        standard_output: output,
        error_output: '',
        error_message: null,
      });
    });
  });
}

function json(response: ServerResponse, status: number, body: unknown): void {
  response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body));
}

async function text(request: IncomingMessage): Promise<string> {
  const pieces: Buffer[] = [];
  for await (const piece of request) pieces.push(piece as Buffer);
  return Buffer.concat(pieces).toString();
}
