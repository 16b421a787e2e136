import { AppError } from '../../../shared/errors.js';
import type { NodeView } from '../api.js';
import { askOfNode } from '../ask-node.js';
import { segment } from '../client.js';
import type { Context } from '../context.js';
import { attendDrain } from '../drain.js';
import { durationFlag, examples, type Host, optionalDurationFlag, requiredFlag } from '../host.js';

export function addIntakeCommands(host: Host): void {
  addDrain(host);
  host.program
    .command('cordon')
    .summary('start nothing new on a node')
    .description('Start nothing new on a node; what runs there goes on.')
    .argument('<node>')
    .option('--reason <text>', 'why; shown to everybody (required)')
    .addHelpText('after', examples('berth cordon gpu-1 --reason "strange noise"'))
    .action(async (name: string, { reason }: { reason?: string }) => {
      await setIntake(host.context, name, { verb: 'cordon', body: { reason: reasonOf(reason) } });
    });
  host.program
    .command('open')
    .summary('undo drain and cordon')
    .description('Let a node take tasks again.')
    .argument('<node>')
    .addHelpText('after', examples('berth open gpu-1'))
    .action(async (name: string) => setIntake(host.context, name, { verb: 'open', body: {} }));
}

function addDrain(host: Host): void {
  host.program
    .command('drain')
    .summary('empty a node')
    .description('Start nothing new on a node and let what runs there end; at the deadline it is stopped and requeued.')
    .argument('<node>')
    .option('--reason <text>', 'why; shown to everybody (required)')
    .option('--deadline <duration>', 'how long running tasks may go on, or none', 'none')
    .option('--wait', 'stay until nothing runs there any more')
    .option('--timeout <duration>', 'stay no longer than this (exit code 124); the drain goes on')
    .addHelpText('after', examples('berth drain gpu-1 --reason "new disk" --deadline 2h --wait', 'berth open gpu-1'))
    .action(async (name: string, { reason, deadline, wait, timeout }: DrainFlags) => {
      const deadlineMs = deadline === 'none' ? null : durationFlag('--deadline', deadline);
      const timeoutMs = optionalDurationFlag('--timeout', timeout);
      if (timeoutMs !== null && !wait) {
        throw new AppError('invalid-request', '--timeout is of --wait', { hint: 'say --wait too' });
      }
      const body = { reason: reasonOf(reason), deadlineMs };
      await setIntake(host.context, name, { verb: 'drain', body });
      if (wait) host.exit(await attendDrain(host.context, name, timeoutMs));
    });
}

interface DrainFlags {
  readonly reason?: string;
  readonly deadline: string;
  readonly wait?: true;
  readonly timeout?: string;
}

function reasonOf(reason: string | undefined): string {
  return requiredFlag('--reason', reason, 'say why, as in --reason "new disk"; others will want to know');
}

interface IntakeChange {
  readonly verb: 'drain' | 'cordon' | 'open';
  readonly body: object;
}

async function setIntake(context: Context, name: string, { verb, body }: IntakeChange): Promise<void> {
  const path = `/nodes/${segment(name)}/${verb}`;
  const node = await askOfNode<NodeView | null>(context, name, { method: 'POST', path, body });
  context.out.write(`${name} ${node?.intake ?? verb}\n`);
}
