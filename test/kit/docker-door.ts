import { connect, createServer } from 'node:net';
import { join } from 'node:path';
import type { Test } from 'tap';
import type { DockerDaemon } from './docker.js';

/** A socket before the daemon's own that lets the first start of a container through, and then kills the daemon. */
export async function deadlyDoor(t: Pick<Test, 'teardown'>, daemon: DockerDaemon): Promise<string> {
  const path = join(daemon.folder, 'door.sock');
  let isDeadly = true;
  const door = createServer((client) => {
    const onward = connect(daemon.socketPath);
    let isStart = false;
    client.on('data', (bytes) => {
      isStart ||= isDeadly && /^POST \S*\/containers\/[^/]+\/start/.test(bytes.toString('latin1'));
      onward.write(bytes);
    });
    onward.on('data', (bytes) => {
      if (!isStart || !isDeadly) client.write(bytes);
      else {
        isDeadly = false;
        // Nobody hears the answer.
        client.destroy();
        daemon.kill();
        daemon.restart();
      }
    });
    for (const [one, other] of [
      [client, onward],
      [onward, client],
    ] as const) {
      one.on('error', () => other.destroy());
      one.on('close', () => other.destroy());
    }
  });
  t.teardown(() => door.close());
  await new Promise<void>((resolve) => door.listen(path, resolve));
  return path;
}
