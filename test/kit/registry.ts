import { execFileSync, spawn } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type IncomingMessage, request, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import type { Test } from 'tap';
import { runCommand } from './command.js';
import type { DockerDaemon } from './docker.js';
import { freePort } from './free-port.js';
import { until } from './until.js';

/** A real registry with a password, behind a door that can hold layers back, wholly or in the middle. */
export interface Registry {
  /** As images name it: 127.0.0.1:PORT. */
  readonly host: string;
  readonly username: string;
  readonly password: string;
  /** What an agent takes as --registry-credentials. */
  readonly credentialsFile: string;
  /** Requests for layers so far. */
  layerRequests: number;
  /** So many bytes of each layer come, about; the others when it is raised. */
  layerBytes: number;
  /** Puts an image of its own there that no node has, with so many bytes that cannot be packed; returns its name. */
  publish(daemon: DockerDaemon, name: string, noiseBytes?: number): Promise<string>;
}

const USER = 'ann';
const PASSWORD = 'a secret of the test';
const POLL_MS = 50;

export async function startRegistry(t: Pick<Test, 'teardown'>): Promise<Registry> {
  const folder = mkdtempSync(join(tmpdir(), 'berth-registry-'));
  const port = await freePort();
  writeFileSync(join(folder, 'htpasswd'), execFileSync('htpasswd', ['-Bbn', USER, PASSWORD]));
  writeFileSync(join(folder, 'config.yml'), configOf(folder, port));
  const server = spawn('docker-registry', ['serve', join(folder, 'config.yml')], { stdio: 'ignore' });
  const door = createServer();
  t.teardown(async () => {
    door.closeAllConnections();
    door.close();
    server.kill('SIGKILL');
    await new Promise((resolve) => server.once('exit', resolve));
    rmSync(folder, { recursive: true, force: true });
  });
  await until(
    'the registry serves',
    async () => (await fetch(`http://127.0.0.1:${port}/v2/`).catch(() => null)) !== null,
  );
  const registry: Registry = {
    ...{
      host: '',
      credentialsFile: '',
      username: USER,
      password: PASSWORD,
      layerRequests: 0,
      layerBytes: Number.POSITIVE_INFINITY,
    },
    publish: (daemon, name, noiseBytes = 0) => publish(daemon, registry, { name, noiseBytes }),
  };
  door.on('request', (incoming, answer) => {
    const isLayer = incoming.method === 'GET' && incoming.url?.includes('/blobs/') === true;
    if (isLayer) registry.layerRequests += 1;
    const { method, url, headers } = incoming;
    const onward = request({ host: '127.0.0.1', port, method, path: url, headers }, (response) => {
      answer.writeHead(response.statusCode ?? 500, response.headers);
      if (isLayer) void passOn(response, answer, registry);
      else response.pipe(answer);
    });
    onward.on('error', () => answer.destroy());
    incoming.pipe(onward);
  });
  await new Promise<void>((resolve) => door.listen(0, '127.0.0.1', resolve));
  const host = `127.0.0.1:${(door.address() as AddressInfo).port}`;
  const credentialsFile = join(folder, 'credentials.json');
  writeFileSync(credentialsFile, JSON.stringify({ [host]: { username: USER, password: PASSWORD } }), { mode: 0o600 });
  Object.assign(registry, { host, credentialsFile });
  return registry;
}

async function passOn(layer: IncomingMessage, answer: ServerResponse, registry: Registry): Promise<void> {
  let passedBytes = 0;
  const held = async function* (pieces: AsyncIterable<Buffer>): AsyncGenerator<Buffer> {
    for await (const piece of pieces) {
      while (passedBytes >= registry.layerBytes && !answer.destroyed) {
        await new Promise((resolve) => setTimeout(resolve, POLL_MS));
      }
      passedBytes += piece.length;
      yield piece;
    }
  };
  // Whoever asked may have gone.
  await pipeline(layer, held, answer).catch(() => {});
}

function configOf(folder: string, port: number): string {
  return `version: 0.1
log: { level: error, accesslog: { disabled: true } }
storage: { filesystem: { rootdirectory: ${folder}/images } }
http: { addr: "127.0.0.1:${port}", relativeurls: true }
auth: { htpasswd: { realm: test, path: ${folder}/htpasswd } }
`;
}

interface Publication {
  readonly name: string;
  readonly noiseBytes: number;
}

/** Not by `daemon.docker`, which holds this process up: the door must answer meanwhile. */
async function publish(
  daemon: DockerDaemon,
  { host, username, password }: Registry,
  { name, noiseBytes }: Publication,
): Promise<string> {
  const image = `${host}/${name}`;
  const config = mkdtempSync(join(tmpdir(), 'berth-docker-config-'));
  const auth = Buffer.from(`${username}:${password}`).toString('base64');
  writeFileSync(join(config, 'config.json'), JSON.stringify({ auths: { [host]: { auth } } }));
  // A layer of its own, so that there is something to pull.
  const script = `echo ${name} >/what; head -c ${noiseBytes} /dev/urandom >/noise`;
  daemon.docker('run', '--name', 'publisher', '--network', 'none', 'busybox:local', 'sh', '-c', script);
  daemon.docker('commit', 'publisher', image);
  daemon.docker('rm', 'publisher');
  const env = { ...process.env, DOCKER_HOST: `unix://${daemon.socketPath}` };
  const pushed = await runCommand(['docker', '--config', config, 'push', '-q', image], { env });
  rmSync(config, { recursive: true });
  if (pushed.exitCode !== 0) throw new Error(`the image could not be pushed: ${pushed.stderr}`);
  daemon.docker('rmi', image);
  return image;
}
