import { isAbsolute, join, resolve } from 'node:path';
import { cpusOf, formatMiB } from '../../../shared/units.js';
import type { NodeView } from '../api.js';
import { ownStateDir } from '../config.js';
import type { Context } from '../context.js';
import { EXIT } from '../exit-code.js';
import { examples, type Host } from '../host.js';

interface UpFlags {
  readonly stateDir?: string;
  readonly listen: string;
  readonly name?: string;
  readonly cpus?: string;
  readonly memory?: string;
}

export function addUpCommand(host: Host): void {
  host.program
    .command('up')
    .summary('start a coordinator and an agent on this machine')
    .description('Start a coordinator and an agent on this machine and keep them until Ctrl-C.')
    .option('--state-dir <dir>', 'where both keep their state (BERTH_STATE_DIR, else ~/.berth)')
    .option('--listen <host:port>', 'address of the coordinator; port 0 is any free one', '127.0.0.1:0')
    .option('--name <name>', 'name of the node')
    .option('--cpus <n>', 'offer so many processors; all by default')
    .option('--memory <size>', 'offer so much memory; all by default')
    .addHelpText('after', examples('berth up', 'berth up --state-dir /tmp/try --cpus 2 --memory 1GiB'))
    .action(async (flags: UpFlags) => host.exit(await up(host.context, flags)));
}

async function up(context: Context, flags: UpFlags): Promise<number> {
  const { LocalCluster } = await import('../local-cluster.js');
  const stateDir = resolve(flags.stateDir ?? context.config.stateDir ?? ownStateDir());
  const stop = new AbortController();
  const ignoreSignals = context.onSignal(() => stop.abort());
  const cluster = new LocalCluster(context, {
    stateDir,
    coordinatorFlags: ['--listen', flags.listen],
    agentFlags: [...flagOf('--name', flags.name), ...flagOf('--cpus', flags.cpus), ...flagOf('--memory', flags.memory)],
    signal: stop.signal,
  });
  try {
    const { url, node } = await cluster.start();
    context.out.write(welcome({ url, node, stateDir }));
    await cluster.untilOver();
    return EXIT.succeeded;
  } catch (error) {
    if (!stop.signal.aborted) throw error;
    return EXIT.succeeded;
  } finally {
    await cluster.stop();
    ignoreSignals();
  }
}

function flagOf(flag: string, value: string | undefined): readonly string[] {
  return value === undefined ? [] : [flag, value];
}

interface Running {
  readonly url: string;
  readonly node: NodeView;
  readonly stateDir: string;
}

function welcome({ url, node, stateDir }: Running): string {
  const { capacity } = node;
  const gpus = capacity.gpuCount === 0 ? '' : `, ${capacity.gpuCount} GPUs`;
  return `Berth is up at ${url}; node ${node.name} offers ${cpusOf(capacity.cpuMillis)} CPUs, ${formatMiB(capacity.memoryMiB)}${gpus}.

In another terminal:

  export BERTH_STATE_DIR=${shellQuoted(stateDir)}
  berth run -- echo hello
  berth ls

Logs: ${join(stateDir, 'coordinator.log')} and ${join(stateDir, 'agent.log')}
Ctrl-C stops both; what runs then goes on, and the next \`berth up\` finds it again.
`;
}

function shellQuoted(path: string): string {
  return isAbsolute(path) && /^[\w./-]+$/.test(path) ? path : `'${path.replaceAll("'", "'\\''")}'`;
}
