import { lookup } from 'node:dns/promises';
import { readFile } from 'node:fs/promises';
import { isIP } from 'node:net';
import { AppError, isAppError } from '../../../shared/errors.js';
import { VERSION } from '../../../shared/version.js';
import type { NodeView } from '../api.js';
import { ApiClient, piecesOf } from '../client.js';
import type { Endpoint } from '../config.js';
import type { Context } from '../context.js';
import { type Finding, fail, ok, warn } from './finding.js';

const ANSWER_LIMIT_MS = 5_000;
/** The head of an answer counts whole seconds. */
const CLOCK_LIMIT_MS = 5_000;

/** Can the coordinator be found, reached and used from here, and is what is joined to it well? */
export async function checkCoordinator(context: Context): Promise<readonly Finding[]> {
  let endpoint: Endpoint;
  try {
    endpoint = await context.api.locate();
  } catch (error) {
    return (await checkAgentSettings(context)) ?? [failure('coordinator', error)];
  }
  return checkEndpoint(context, endpoint, checkToken);
}

type TokenCheck = (api: ApiClient, endpoint: Endpoint) => Promise<Finding[]>;

async function checkEndpoint(context: Context, endpoint: Endpoint, token: TokenCheck): Promise<readonly Finding[]> {
  const host = new URL(endpoint.url).hostname.replace(/^\[|\]$/g, '');
  const proxies = checkProxies(context.config.proxyVariables, host);
  const name = await checkName(host);
  if (name?.state === 'fail') return [name, ...proxies];
  const reached = await checkReached(context, endpoint);
  const before = [...(name ? [name] : []), ...proxies, ...reached];
  if (reached.some(({ state }) => state === 'fail')) return before;
  return [...before, ...(await token(context.api, endpoint))];
}

/** A node knows its coordinator from its agent's settings, and has a token that lets it join and do nothing else. */
async function checkAgentSettings(context: Context): Promise<readonly Finding[] | undefined> {
  const source = context.config.agentSettings;
  const text = await readFile(source, 'utf8').catch(() => undefined);
  if (text === undefined) return undefined;
  const { parse } = await import('yaml');
  const { url, tokenFile } = parse(text) as { readonly url?: string; readonly tokenFile?: string };
  if (url === undefined || !URL.canParse(url))
    return [fail('coordinator', `${source} names none`, 'write url: http://HOST:PORT')];
  const endpoint = { url: url.replace(/\/+$/, ''), token: '', urlSource: source, tokenSource: tokenFile ?? source };
  const api = new ApiClient({ locate: async () => endpoint, clock: context.clock });
  return checkEndpoint({ ...context, api }, endpoint, checkJoinToken);
}

async function checkJoinToken(_: ApiClient, { tokenSource }: Endpoint): Promise<Finding[]> {
  const text = await readFile(tokenSource, 'utf8').catch((error: NodeJS.ErrnoException) => error);
  if (typeof text === 'string' && text.trim() !== '') return [ok('token', `a join token is in ${tokenSource}`)];
  const detail = `no join token in ${tokenSource}: ${typeof text === 'string' ? 'it is empty' : text.code}`;
  return [fail('token', detail, 'copy agent.token from the state directory of the coordinator')];
}

async function checkName(host: string): Promise<Finding | undefined> {
  if (isIP(host) !== 0) return undefined;
  try {
    const { address } = await lookup(host);
    return ok('dns', `${host} is ${address}`);
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code ?? String(error);
    return fail('dns', `${host} has no address (${code})`, 'correct BERTH_URL, /etc/hosts or /etc/resolv.conf');
  }
}

/** Neither the client nor the agent goes through a proxy. */
function checkProxies(variables: readonly string[], host: string): Finding[] {
  if (variables.length === 0) return [ok('proxy', 'none is set')];
  const fix = `${host} must be reachable without a proxy, or behind a reverse proxy of its own`;
  return [warn('proxy', `${variables.join(', ')} set, and not used by Berth`, fix)];
}

async function checkReached({ api, clock }: Context, { url, urlSource }: Endpoint): Promise<Finding[]> {
  try {
    const sentAt = clock.now();
    const response = await api.open({ method: 'GET', path: '/healthz', answerWithinMs: ANSWER_LIMIT_MS });
    const dated = Date.parse(response.headers.date ?? '');
    const middle = (sentAt + clock.now()) / 2;
    const { version } = JSON.parse(await textOf(response)) as { readonly version: string };
    const reached = ok('coordinator', `${url} (${urlSource}) serves`);
    return [reached, checkVersion(version), ...(Number.isNaN(dated) ? [] : [checkClock(dated - middle)])];
  } catch (error) {
    return [failure('coordinator', error)];
  }
}

function checkVersion(version: string): Finding {
  if (version === VERSION) return ok('version', VERSION);
  return warn('version', `this program is ${VERSION}, the coordinator ${version}`, 'install the same version on both');
}

/** No decision depends on two clocks agreeing, but people compare logs. */
export function checkClock(offsetMs: number): Finding {
  const detail = `the coordinator's is ${(Math.abs(offsetMs) / 1_000).toFixed(1)} s ${offsetMs < 0 ? 'behind' : 'ahead'}`;
  if (Math.abs(offsetMs) <= CLOCK_LIMIT_MS) return ok('clock', detail);
  return warn('clock', detail, 'run a time service on both machines: timedatectl set-ntp true');
}

async function checkToken(api: ApiClient, { tokenSource }: Endpoint): Promise<Finding[]> {
  try {
    const { name } = await api.get<{ name: string }>('/whoami', { answerWithinMs: ANSWER_LIMIT_MS });
    const { nodes } = await api.get<{ nodes: readonly NodeView[] }>('/nodes', { answerWithinMs: ANSWER_LIMIT_MS });
    return [ok('token', `that of ${name} (${tokenSource})`), ...checkNodes(nodes)];
  } catch (error) {
    return [failure('token', error)];
  }
}

export function checkNodes(nodes: readonly NodeView[]): Finding[] {
  if (nodes.length === 0) return [warn('nodes', 'none has joined', 'start an agent: berth agent --help')];
  const findings = nodes.flatMap(checkNode);
  return findings.length > 0 ? findings : [ok('nodes', `${nodes.length} connected and well`)];
}

function checkNode({ name, link, version, usage, gpus }: NodeView): Finding[] {
  const findings: Finding[] = [];
  const offsetMs = usage?.clockOffsetMs ?? 0;
  if (link !== 'connected') {
    findings.push(warn('nodes', `${name} is ${link}`, `start its agent, or forget it: berth remove-node ${name}`));
  }
  if (version !== VERSION) findings.push(warn('nodes', `${name} has version ${version}`, `install ${VERSION} there`));
  if (Math.abs(offsetMs) > CLOCK_LIMIT_MS) {
    const seconds = (offsetMs / 1_000).toFixed(1);
    findings.push(warn('nodes', `the clock of ${name} is ${seconds} s off`, 'run a time service there'));
  }
  for (const { index, fault } of gpus) {
    if (fault === undefined) continue;
    const fix = `mend it, or on ${name}: berth agent gpu in ${index}`;
    findings.push(warn('nodes', `GPU ${index} of ${name} is out of use: ${fault}`, fix));
  }
  return findings;
}

function failure(check: string, error: unknown): Finding {
  const fault = isAppError(error) ? error : new AppError('internal', String(error), { cause: error });
  return fail(check, fault.message, fault.hint ?? 'is that address a coordinator?');
}

async function textOf(response: Parameters<typeof piecesOf>[0]): Promise<string> {
  const pieces: Buffer[] = [];
  for await (const piece of piecesOf(response)) pieces.push(piece);
  return Buffer.concat(pieces).toString('utf8');
}
