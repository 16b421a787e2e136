import { writeSync } from 'node:fs';
import { type PackingNode, PackingSession, type PackingTask } from './packing-session.js';

type Message =
  | { readonly type: 'hello'; readonly history?: readonly (PackingTask & { readonly weight: number })[] }
  | ({ readonly type: 'node' } & PackingNode)
  | { readonly type: 'start' | 'end' }
  | ({ readonly type: 'task'; readonly seq: number } & PackingTask)
  | { readonly type: 'release'; readonly seq: number };

/** Speaks packing/1 on stdin and stdout: one JSON object a line. Unknown messages and fields are ignored. */
const session = new PackingSession();
let rest = '';

process.stdin.setEncoding('utf8');
process.stdin.on('data', (text: string) => {
  const lines = (rest + text).split('\n');
  rest = lines.pop() ?? '';
  for (const line of lines) if (line.trim() !== '') receive(JSON.parse(line) as Message);
});

function receive(message: Message): void {
  switch (message.type) {
    case 'hello':
      if (message.history) session.expect(message.history);
      return;
    case 'node':
      session.addNode(message);
      return;
    case 'start':
      session.start();
      answer({ ready: true });
      return;
    case 'task': {
      const place = session.place(message.seq, message);
      answer({ seq: message.seq, node: place?.node.id ?? null, ...(place ? { gpus: place.gpus } : {}) });
      return;
    }
    case 'release':
      session.release(message.seq);
      return;
    case 'end':
      process.exit(0);
  }
}

function answer(message: object): void {
  writeSync(process.stdout.fd, `${JSON.stringify(message)}\n`);
}
