import { readFile } from 'node:fs/promises';
import type { Client, ClientChannel, ConnectConfig, SFTPWrapper } from 'ssh2';
import { asHpcError, type FilePart, HpcError, type WriteOptions } from '../backend.js';
import { quote } from '../quote.js';
import { HPC_LIMITS } from '../remote-job.js';
import type { SshEndpoint } from '../target.js';
import { fingerprint, knownKeys } from './known-hosts.js';
import { firstLine, limited, orAborted, type RemoteShell, type ShellResult } from './remote-shell.js';
import { readPart, writePart } from './sftp.js';
import { folderOf, moveByShell, removeByShell } from './shell-files.js';

export interface SshOptions {
  readonly endpoint: SshEndpoint;
  /** The private key, asked for at each new connection; undefined when the agent has it. */
  readonly privateKey: (() => Promise<string>) | undefined;
  /** The agent's socket; undefined when there is none. */
  readonly agentSocket: string | undefined;
}

const READY_MS = 20_000;
const KEEPALIVE_MS = 15_000;
const KEEPALIVE_MISSES = 3;
/** sshd allows ten sessions on a connection by default; one is for files. */
const MAX_SESSIONS = 8;

/** A host over one lasting SSH connection, which is made anew when it has broken. ssh2 is loaded with the first one. */
export class SshShell implements RemoteShell {
  readonly #options: SshOptions;
  #connection: Promise<Connection> | undefined;
  #sessionCount = 0;
  readonly #waiting: (() => void)[] = [];

  constructor(options: SshOptions) {
    this.#options = options;
  }

  async run(script: string, signal: AbortSignal): Promise<ShellResult> {
    const limit = limited(signal);
    return this.#session(async ({ client }) => execute(client, script, limit), limit);
  }

  async read(path: string, part: FilePart, signal: AbortSignal): Promise<Uint8Array | null> {
    const limit = limited(signal);
    return this.#session(async ({ sftp }) => orAborted(readPart(await sftp(), path, part), limit), limit);
  }

  async write(path: string, bytes: Uint8Array, options: WriteOptions, signal: AbortSignal): Promise<void> {
    const limit = limited(signal);
    if (options.offset === 0) {
      const made = await this.run(`mkdir -p -- ${quote(folderOf(path))}`, limit);
      if (made.exitCode !== 0) throw new HpcError('configuration', `writing ${path}: ${firstLine(made)}`);
    }
    await this.#session(async ({ sftp }) => orAborted(writePart(await sftp(), path, bytes, options), limit), limit);
  }

  move(from: string, to: string, signal: AbortSignal): Promise<void> {
    return moveByShell(this, { from, to }, signal);
  }

  remove(path: string, signal: AbortSignal): Promise<void> {
    return removeByShell(this, path, signal);
  }

  async close(): Promise<void> {
    const connection = await this.#connection?.catch(() => undefined);
    this.#connection = undefined;
    connection?.client.end();
  }

  /** Runs in one of the sessions that the host allows; the others wait their turn. */
  async #session<Value>(act: (connection: Connection) => Promise<Value>, signal: AbortSignal): Promise<Value> {
    while (this.#sessionCount >= MAX_SESSIONS)
      await orAborted(new Promise<void>((go) => this.#waiting.push(go)), signal);
    this.#sessionCount += 1;
    try {
      return await act(await orAborted(this.#connected(), signal));
    } catch (error) {
      throw asHpcError(error, `at ${this.#options.endpoint.host}`);
    } finally {
      this.#sessionCount -= 1;
      this.#waiting.shift()?.();
    }
  }

  #connected(): Promise<Connection> {
    if (this.#connection) return this.#connection;
    const connection = connect(this.#options, () => {
      if (this.#connection === connection) this.#connection = undefined;
    });
    connection.catch(() => {
      if (this.#connection === connection) this.#connection = undefined;
    });
    this.#connection = connection;
    return connection;
  }
}

interface Connection {
  readonly client: Client;
  readonly sftp: () => Promise<SFTPWrapper>;
}

async function connect({ endpoint, privateKey, agentSocket }: SshOptions, onClose: () => void): Promise<Connection> {
  const { host, port, user } = endpoint;
  const { Client: SshClient } = (await import('ssh2')).default;
  const keys = await trustedKeys(endpoint);
  const config: ConnectConfig = {
    host,
    port,
    username: user,
    readyTimeout: READY_MS,
    keepaliveInterval: KEEPALIVE_MS,
    keepaliveCountMax: KEEPALIVE_MISSES,
    hostVerifier: (key: Buffer) => keys.isTrusted(key),
    ...(keys.types.length > 0 ? { algorithms: { serverHostKey: keys.types as never } } : {}),
    ...(privateKey === undefined ? {} : { privateKey: await privateKey() }),
    ...(privateKey !== undefined || agentSocket === undefined ? {} : { agent: agentSocket }),
  };
  const client = new SshClient();
  await new Promise<void>((resolve, reject) => {
    client.on('ready', resolve);
    client.on('error', (error) => reject(connectionError(error, endpoint)));
    client.on('close', () => {
      onClose();
      reject(new HpcError('unavailable', `${host}: the connection was closed`));
    });
    try {
      client.connect(config);
    } catch (error) {
      reject(new HpcError('credentials', `the key for ${user}@${host} cannot be read: ${(error as Error).message}`));
    }
  });
  return { client, sftp: lasting(client) };
}

/** The one SFTP session of a connection, opened when it is first needed. */
function lasting(client: Client): () => Promise<SFTPWrapper> {
  let opened: Promise<SFTPWrapper> | undefined;
  return () => {
    opened ??= new Promise((resolve, reject) => {
      client.sftp((error, sftp) =>
        error ? reject(new HpcError('configuration', `SFTP: ${error.message}`)) : resolve(sftp),
      );
    });
    return opened;
  };
}

interface TrustedKeys {
  readonly isTrusted: (key: Uint8Array) => boolean;
  /** Kinds of keys to ask the host for; empty for any. */
  readonly types: readonly string[];
}

async function trustedKeys({ host, port, hostKey, knownHosts }: SshEndpoint): Promise<TrustedKeys> {
  if (hostKey !== null) return { isTrusted: (key) => fingerprint(key) === hostKey, types: [] };
  let text: string;
  try {
    text = await readFile(knownHosts ?? '', 'utf8');
  } catch (error) {
    throw new HpcError('configuration', `knownHosts: ${(error as Error).message}`, { cause: error });
  }
  const keys = knownKeys(text, host, port);
  if (keys.size === 0) throw new HpcError('configuration', `${knownHosts} does not vouch for ${host}, port ${port}`);
  const isTrusted = (key: Uint8Array): boolean => {
    const encoded = Buffer.from(key).toString('base64');
    return [...keys.values()].some((each) => each.has(encoded));
  };
  return { isTrusted, types: [...keys.keys()] };
}

function connectionError(error: Error & { level?: string }, { host, port, user }: SshEndpoint): HpcError {
  const at = `${user}@${host}:${port}`;
  if (error.level === 'client-authentication') {
    return new HpcError('credentials', `${at} does not let us in with this key: ${error.message}`, { cause: error });
  }
  if (/verification failed/i.test(error.message)) {
    const message = `the key of ${host} is not the configured one: either it has changed, or it is another host`;
    return new HpcError('configuration', message, { cause: error });
  }
  return new HpcError('unavailable', `${at}: ${error.message}`, { cause: error });
}

function execute(client: Client, script: string, signal: AbortSignal): Promise<ShellResult> {
  return new Promise((resolve, reject) => {
    client.exec('exec sh -s', (error, channel) => {
      if (error) reject(new HpcError('unavailable', `starting a command: ${error.message}`, { cause: error }));
      else collect(channel, signal).then(resolve, reject);
      if (!error) channel.end(script);
    });
  });
}

function collect(channel: ClientChannel, signal: AbortSignal): Promise<ShellResult> {
  return new Promise((resolve, reject) => {
    const out: Buffer[] = [];
    const err: Buffer[] = [];
    let byteCount = 0;
    let exitCode: number | null = null;
    const fail = (problem: HpcError): void => {
      channel.close();
      reject(problem);
    };
    const keep = (chunks: Buffer[]) => (chunk: Buffer) => {
      byteCount += chunk.length;
      if (byteCount > HPC_LIMITS.maxAnswerBytes) fail(new HpcError('configuration', 'a command printed too much'));
      else chunks.push(chunk);
    };
    const onAbort = (): void => fail(new HpcError('unavailable', 'a command took too long, or is no longer wanted'));
    if (signal.aborted) return onAbort();
    signal.addEventListener('abort', onAbort, { once: true });
    channel.on('data', keep(out));
    channel.stderr.on('data', keep(err));
    channel.on('exit', (code: number | null) => {
      exitCode = code;
    });
    channel.on('close', () => {
      signal.removeEventListener('abort', onAbort);
      if (exitCode === null) reject(new HpcError('unavailable', 'the connection broke while a command ran'));
      else resolve({ exitCode, stdout: Buffer.concat(out).toString(), stderr: Buffer.concat(err).toString() });
    });
  });
}
