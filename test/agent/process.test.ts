import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import type { IncomingMessage } from 'node:http';
import type { AddressInfo } from 'node:net';
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import t, { type Test } from 'tap';
import { WebSocketServer } from 'ws';
import { systemClock } from '../../shared/clock.js';
import type { AllocationId } from '../../shared/ids.js';
import type { StartOrder } from '../../shared/wire/messages.js';
import { websocketChannel } from '../../shared/wire/websocket-channel.js';
import { temporaryFolder } from '../kit/temporary-folder.js';
import { until } from '../kit/until.js';
import { anOrder } from '../kit/wire-samples.js';
import { idOf, MiniCoordinator } from './rig.js';

const MAIN = fileURLToPath(new URL('../../agent/main.js', import.meta.url));
const id = idOf(1);

/** A coordinator on loopback, and real agent processes. */
class Node {
  readonly coordinator = new MiniCoordinator(systemClock);
  readonly folder: string;
  readonly children: ChildProcess[] = [];
  readonly #server: WebSocketServer;

  private constructor(t: Test) {
    this.folder = temporaryFolder(t);
    writeFileSync(join(this.folder, 'token'), 'right\n');
    this.#server = new WebSocketServer({
      host: '127.0.0.1',
      port: 0,
      verifyClient: ({ req }: { readonly req: IncomingMessage }) => req.headers.authorization === 'Bearer right',
    });
    this.#server.on('connection', (socket) => this.coordinator.accept(websocketChannel(socket)));
    t.teardown(async () => {
      for (const child of this.children) child.kill('SIGKILL');
      for (const client of this.#server.clients) client.terminate();
      await new Promise((resolve) => this.#server.close(resolve));
    });
  }

  static async open(t: Test): Promise<Node> {
    const node = new Node(t);
    await once(node.#server, 'listening');
    return node;
  }

  agent(flags: readonly string[] = []): ChildProcess {
    const { port } = this.#server.address() as AddressInfo;
    const argv = ['--url', `http://127.0.0.1:${port}`, '--state-dir', join(this.folder, 'state'), '--name', 'n1'];
    const token = ['--token-file', join(this.folder, 'token'), '--log-level', 'warn', '--isolation', 'none'];
    const program = `import('${MAIN}').then((m) => m.main(process.argv.slice(1))).then((code) => { process.exitCode = code; });`;
    const child = spawn(process.execPath, ['-e', program, '--', ...argv, ...token, ...flags], {
      stdio: ['ignore', 'ignore', 'pipe'],
      env: { ...process.env, BERTH_SECRET: 'of the agent' },
    });
    this.children.push(child);
    return child;
  }

  async connected(count: number): Promise<void> {
    await until(`hello ${count}`, () => this.coordinator.hellos.length >= count);
  }

  path(name: string): string {
    return join(this.folder, name);
  }
}

function shell(allocationId: AllocationId, script: string): StartOrder {
  const run = { kind: 'command', argv: ['sh', '-c', script] } as const;
  return anOrder({ allocationId, run, env: {}, workdir: null, gpus: [] });
}

async function exitOf(child: ChildProcess): Promise<{ readonly code: number | null; readonly said: string }> {
  let said = '';
  child.stderr?.on('data', (chunk) => {
    said += chunk;
  });
  const [code] = await once(child, 'close');
  return { code, said };
}

t.test('kill -9 of the agent harms no task, and the next agent brings its end and all its output', async (t) => {
  const node = await Node.open(t);
  const agent = node.agent();
  await node.connected(1);
  const script = `echo begin; echo "$BERTH_SECRET" >&2; echo ran >> ${node.path('witness')}
    while [ ! -e ${node.path('go')} ]; do sleep 0.05; done; echo end; exit 5`;
  node.coordinator.start(shell(id, script));
  await until('the command runs', () => existsSync(node.path('witness')));
  agent.kill('SIGKILL');
  await once(agent, 'exit');
  writeFileSync(node.path('go'), '');
  node.agent();
  await until('its end', () => node.coordinator.ends.has(id));
  t.match(node.coordinator.ends.get(id), { kind: 'exited', exitCode: 5 });
  t.equal(readFileSync(node.path('witness'), 'utf8'), 'ran\n', 'it ran once');
  await until('its output', () => node.coordinator.complete.includes(id) && node.coordinator.errors.has(id));
  t.equal(node.coordinator.output.get(id)?.toString(), 'begin\nend\n');
  t.equal(node.coordinator.errors.get(id)?.toString(), '\n', 'it does not see the environment of the agent');
});

t.test('after kill -9 of the agent the cores of a pinned task are still its own', async (t) => {
  const node = await Node.open(t);
  const agent = node.agent();
  await node.connected(1);
  const resources = { cpuMillis: availableParallelism() * 1_000, memoryMiB: 64, diskMiB: 0 };
  const pinned = (id: AllocationId, script: string) => ({ ...shell(id, script), pinCpus: true as const, resources });
  node.coordinator.start(pinned(id, `echo $BERTH_CPU_LIST > ${node.path('cores')}; exec sleep 60`));
  await until('the command runs', () => existsSync(node.path('cores')));
  agent.kill('SIGKILL');
  await once(agent, 'exit');
  node.agent();
  await node.connected(2);
  node.coordinator.start(pinned(idOf(2), 'true'));
  await until('the second is refused', () => node.coordinator.ends.has(idOf(2)));
  t.match(node.coordinator.ends.get(idOf(2)), { kind: 'rejected', message: /and 0 of this node's are nobody's/ });
  node.coordinator.stop(id);
  await until('the first ends', () => node.coordinator.ends.has(id));
  node.coordinator.start(pinned(idOf(3), 'true'));
  await until('the third ends', () => node.coordinator.ends.has(idOf(3)));
  t.match(node.coordinator.ends.get(idOf(3)), { kind: 'exited', exitCode: 0 });
});

t.test('a task that has more on disk than it asked for is stopped, after a restart too; others go on', async (t) => {
  const node = await Node.open(t);
  const agent = node.agent();
  await node.connected(1);
  const asked = { cpuMillis: 100, memoryMiB: 64, diskMiB: 4 };
  const fill = (when: string) =>
    `: > ${node.path('ran')}.$$; ${when}; head -c 8M /dev/urandom > file; ls > $BERTH_WORKSPACE/list; exec sleep 60`;
  const waits = `while [ ! -e ${node.path('go')} ]; do sleep 0.05; done`;
  node.coordinator.start(
    { ...shell(id, fill(waits)), resources: asked },
    { ...shell(idOf(2), `${waits}; head -c 3M /dev/urandom > file; sleep 7; exit 6`), resources: asked },
    { ...shell(idOf(3), `${fill(waits).replace('exec sleep 60', 'sleep 7; exit 7')}`) },
  );
  await until('all run', () => [1, 2, 3].every((n) => node.coordinator.phases(idOf(n)).includes('running')));
  agent.kill('SIGKILL');
  await once(agent, 'exit');
  node.agent();
  await node.connected(2);
  writeFileSync(node.path('go'), '');
  await until('all end', () => [1, 2, 3].every((n) => node.coordinator.ends.has(idOf(n))));
  t.match(node.coordinator.ends.get(id), { kind: 'stopped', reason: 'disk' });
  t.match(node.coordinator.ends.get(idOf(2)), { kind: 'exited', exitCode: 6 }, 'within what it asked for');
  t.match(node.coordinator.ends.get(idOf(3)), { kind: 'exited', exitCode: 7 }, 'it asked for no disk');
});

t.test('SIGTERM ends the agent with 0 and leaves the task running', async (t) => {
  const node = await Node.open(t);
  const agent = node.agent();
  await node.connected(1);
  node.coordinator.start(shell(id, `echo $$ > ${node.path('pid')}; exec sleep 60`));
  await until('it runs', () => existsSync(node.path('pid')) && node.coordinator.phases(id).includes('running'));
  agent.kill('SIGTERM');
  t.equal((await exitOf(agent)).code, 0);
  const pid = Number(readFileSync(node.path('pid'), 'utf8'));
  t.ok(process.kill(pid, 0), 'the task lives');
  node.agent();
  await node.connected(2);
  t.match(node.coordinator.hellos[1]?.held, [{ allocationId: id, phase: 'running' }]);
  node.coordinator.stop(id);
  await until('its end', () => node.coordinator.ends.has(id));
  t.match(node.coordinator.ends.get(id), { kind: 'stopped', reason: 'canceled' });
  t.throws(() => process.kill(pid, 0));
});

t.test('a second agent on the same state, and one with a wrong token, say why they leave', async (t) => {
  const node = await Node.open(t);
  node.agent();
  await node.connected(1);
  const second = await exitOf(node.agent());
  t.equal(second.code, 69);
  t.match(second.said, /another agent uses/);
  writeFileSync(node.path('token'), 'wrong');
  const stranger = await exitOf(node.agent(['--state-dir', node.path('other')]));
  t.equal(stranger.code, 77);
  t.match(stranger.said, /refused the join token/);
});
