import { readFile } from 'node:fs/promises';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { AppError, isAppError } from '../../shared/errors.js';

/** What the client reads from the environment. */
export interface ClientConfig {
  readonly url: string | undefined;
  readonly token: string | undefined;
  readonly tokenFile: string | undefined;
  /** BERTH_CA_FILE: whose certificates to trust, besides the system's own. */
  readonly caFile: string | undefined;
  /** BERTH_STATE_DIR: that of `berth up`, or the coordinator's own. */
  readonly stateDir: string | undefined;
  /** Where a coordinator of this machine is looked for when nothing is said. */
  readonly defaultStateDirs: readonly string[];
  readonly allowsColor: boolean;
  /** Of an agent that is installed on this machine. */
  readonly agentSettings: string;
  readonly searchPath: string;
  /** Those that are set; for the doctor, since nothing here goes through a proxy. */
  readonly proxyVariables: readonly string[];
}

type Environment = Readonly<Record<string, string | undefined>>;

const PROXY_VARIABLES = ['HTTP_PROXY', 'HTTPS_PROXY', 'ALL_PROXY', 'http_proxy', 'https_proxy', 'all_proxy'];

export function readClientConfig(environment: Environment = process.env): ClientConfig {
  return {
    url: nonEmpty(environment.BERTH_URL),
    token: nonEmpty(environment.BERTH_TOKEN),
    tokenFile: nonEmpty(environment.BERTH_TOKEN_FILE),
    caFile: nonEmpty(environment.BERTH_CA_FILE),
    stateDir: nonEmpty(environment.BERTH_STATE_DIR),
    defaultStateDirs: ['/var/lib/berth', ownStateDir(environment)],
    allowsColor: !nonEmpty(environment.NO_COLOR) && environment.TERM !== 'dumb',
    agentSettings: '/etc/berth/agent.yaml',
    searchPath: environment.PATH ?? '',
    proxyVariables: PROXY_VARIABLES.filter((name) => nonEmpty(environment[name]) !== undefined),
  };
}

/** Where `berth up` keeps its state when it is not told. */
export function ownStateDir(environment: Environment = process.env): string {
  return join(nonEmpty(environment.HOME) ?? homedir(), '.berth');
}

/** A variable that the user names on the command line. */
export function readVariable(name: string, environment: Environment = process.env): string | undefined {
  return environment[name];
}

/** A coordinator's address, and how we know it. */
export interface Endpoint {
  readonly url: string;
  readonly token: string;
  /** PEM; the system's own certificates when absent. */
  readonly ca?: string;
  /** Names the source in error messages. */
  readonly urlSource: string;
  readonly tokenSource: string;
}

/**
 * The coordinator to talk to: BERTH_URL with a token, else the files that a coordinator of this machine wrote.
 *
 * Cheap enough for every request, so a coordinator that restarts on another port is found again.
 * Throws: `unreachable` when there is none to find, `forbidden` when its files may not be read, `unauthenticated`
 * without a token.
 */
export async function findCoordinator(config: ClientConfig): Promise<Endpoint> {
  if (config.url !== undefined) {
    const url = checkedUrl(config.url, 'BERTH_URL');
    return { url, urlSource: 'BERTH_URL', ...(await configuredToken(config, undefined)), ...(await trusted(config)) };
  }
  for (const dir of stateDirs(config)) {
    const source = join(dir, 'coordinator.json');
    const document = config.stateDir === undefined ? await readIfPermitted(source) : await readOptional(source);
    if (document === undefined) continue;
    const url = urlIn(document, source);
    return { url, urlSource: source, ...(await configuredToken(config, dir)), ...(await trusted(config)) };
  }
  throw new AppError('unreachable', `no coordinator found${whereWeLooked(config)}`, {
    hint: 'start one here with `berth up`, or set BERTH_URL and BERTH_TOKEN (or BERTH_TOKEN_FILE), or BERTH_STATE_DIR',
  });
}

async function trusted({ caFile }: ClientConfig): Promise<Pick<Endpoint, 'ca'>> {
  if (caFile === undefined) return {};
  const ca = await readOptional(caFile);
  if (ca !== undefined) return { ca };
  throw new AppError('invalid-request', `BERTH_CA_FILE names ${caFile}, which does not exist`);
}

function whereWeLooked(config: ClientConfig): string {
  if (config.stateDir !== undefined) return ` in BERTH_STATE_DIR=${config.stateDir}`;
  return `: BERTH_URL is not set, and there is none in ${config.defaultStateDirs.join(' or ')}`;
}

function stateDirs(config: ClientConfig): string[] {
  const roots = config.stateDir === undefined ? config.defaultStateDirs : [config.stateDir];
  return roots.flatMap((root) => [root, join(root, 'coordinator')]);
}

async function configuredToken(config: ClientConfig, dir: string | undefined) {
  if (config.token !== undefined) return { token: config.token, tokenSource: 'BERTH_TOKEN' };
  const files = config.tokenFile !== undefined ? [config.tokenFile] : tokenFiles(config, dir);
  for (const file of files) {
    const token = (await readOptional(file))?.trim();
    if (token) return { token, tokenSource: file };
  }
  throw new AppError('unauthenticated', `no token${files.length === 0 ? '' : `: cannot find ${files.join(' or ')}`}`, {
    hint: "set BERTH_TOKEN or BERTH_TOKEN_FILE; the token is in the coordinator's state directory, file admin.token",
  });
}

function tokenFiles(config: ClientConfig, dir: string | undefined): string[] {
  const dirs = dir !== undefined ? [dir] : config.stateDir !== undefined ? stateDirs(config) : [];
  return dirs.map((each) => join(each, 'admin.token'));
}

/** The file's text; undefined when there is no such file, or no such folder. */
async function readOptional(path: string): Promise<string | undefined> {
  try {
    return await readFile(path, 'utf8');
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code;
    if (code === 'ENOENT' || code === 'ENOTDIR') return undefined;
    if (code !== 'EACCES' && code !== 'EPERM') {
      throw new AppError('unreachable', `cannot read ${path}: ${(error as Error).message}`, { cause: error });
    }
    throw new AppError('forbidden', `you may not read ${path}`, {
      cause: error,
      hint: 'ask the one who runs the coordinator for a token and set BERTH_URL and BERTH_TOKEN',
    });
  }
}

/** One of the default folders may be somebody else's: then it is not ours to find. */
async function readIfPermitted(path: string): Promise<string | undefined> {
  try {
    return await readOptional(path);
  } catch (error) {
    if (isAppError(error, 'forbidden')) return undefined;
    throw error;
  }
}

function urlIn(document: string, source: string): string {
  try {
    const parsed = JSON.parse(document) as { url?: unknown } | null;
    if (typeof parsed?.url === 'string') return checkedUrl(parsed.url, source);
  } catch (error) {
    if (error instanceof AppError) throw error;
  }
  throw new AppError('unreachable', `${source} names no coordinator`, {
    hint: 'restart the coordinator; it rewrites the file',
  });
}

function checkedUrl(text: string, source: string): string {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  if (url?.protocol === 'http:' || url?.protocol === 'https:') return text.replace(/\/+$/, '');
  throw new AppError('invalid-request', `${source} is no HTTP address: "${text}"`, {
    hint: 'write http://HOST:PORT or https://HOST',
  });
}

function nonEmpty(text: string | undefined): string | undefined {
  return text === undefined || text === '' ? undefined : text;
}
