import { AppError } from '../../shared/errors.js';
import type { NodeView } from './api.js';
import { askOfNode } from './ask-node.js';
import { detachable } from './attend.js';
import { segment } from './client.js';
import { type Context, remark } from './context.js';
import { EXIT } from './exit-code.js';
import { drainText } from './format/node.js';
import { pause, untilAnswered } from './retry.js';

const LOOK_MS = 1_000;

/**
 * Stays until nothing runs on a node that is drained, and says what is left whenever that changes.
 *
 * Throws `conflict` when somebody ends the drain.
 */
export function attendDrain(context: Context, name: string, timeoutMs: number | null): Promise<number> {
  return detachable(context, { jobIds: [], timeoutMs }, async (signal) => {
    let told: string | undefined;
    for (;;) {
      const look = { method: 'GET', path: `/nodes/${segment(name)}`, signal } as const;
      const node = await untilAnswered(context, () => askOfNode<NodeView>(context, name, look), { signal });
      if (node.intake === 'drained') {
        context.out.write(`${name} drained\n`);
        return EXIT.succeeded;
      }
      if (node.intake !== 'draining') {
        throw new AppError('conflict', `${name} is ${node.intake}: somebody has ended its drain`);
      }
      const text = `${name} is ${drainText(node, context.clock.now())}${namesOf(node)}`;
      if (text !== told) remark(context, text);
      told = text;
      await pause(context.clock, LOOK_MS, signal);
    }
  });
}

function namesOf({ running = [], allocations }: NodeView): string {
  if (running.length === 0) return '';
  return ` (${running.join(', ')}${running.length < allocations ? ', ...' : ''})`;
}
