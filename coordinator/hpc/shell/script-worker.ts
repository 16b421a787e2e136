import { parentPort, workerData } from 'node:worker_threads';
import { present } from '../../../shared/assert.js';
import { asHpcError } from '../backend.js';
import { runScript } from './run-script.js';
import type { ScriptEnd, ScriptOrder } from './script-thread.js';

/** The thread of ScriptThread: runs what arrives, all at once. */
const port = present(parentPort ?? undefined, 'parent port: this file runs in a worker thread');
const env = workerData as Readonly<Record<string, string>>;

port.on('message', ({ script, reply }: ScriptOrder) => {
  const stop = new AbortController();
  reply.on('message', () => stop.abort());
  void endOf(script, stop.signal).then((end) => {
    reply.postMessage(end);
    reply.close();
  });
});

async function endOf(script: string, signal: AbortSignal): Promise<ScriptEnd> {
  try {
    return { result: await runScript(script, env, signal) };
  } catch (error) {
    const { kind, message } = asHpcError(error, 'running a command');
    return { fault: { kind, message } };
  }
}
