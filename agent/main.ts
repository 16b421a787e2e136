import { systemClock } from '../shared/clock.js';
import { AppError, CODES, isAppError } from '../shared/errors.js';
import type { Log } from '../shared/log.js';
import { openPinoLog } from '../shared/pino-log.js';
import { readServiceEnvironment, SystemdService } from '../shared/systemd.js';
import { compose } from './compose.js';
import { AGENT_HELP, type AgentConfig, readAgentConfig } from './config/config.js';
import { decideOnGpu, discover } from './inquiries.js';

/** Timers of ours do not keep the process alive, since in a test they must not; this one does. */
const KEEP_ALIVE_MS = 2 ** 30;

/** `berth agent`. Resolves to the process's exit code. */
export async function main(argv: readonly string[]): Promise<number> {
  const [word, ...rest] = argv;
  if (argv.includes('--help') || argv.includes('-h')) {
    console.log(AGENT_HELP);
    return 0;
  }
  try {
    if (word === 'discover') await discover(rest, process.env);
    else if (word === 'gpu') await decideOnGpu(rest, process.env);
    else await serve(await readAgentConfig(argv, process.env));
    return 0;
  } catch (error) {
    return complain(error);
  }
}

async function serve(config: AgentConfig): Promise<void> {
  const log = openPinoLog(config.logLevel);
  const { agent, stop } = compose(config, log);
  const keepAlive = setInterval(() => {}, KEEP_ALIVE_MS);
  let stopped: Promise<void> | undefined;
  for (const signal of ['SIGINT', 'SIGTERM'] as const) {
    process.once(signal, () => {
      // A second signal ends the process at once.
      process.once(signal, () => process.exit(1));
      log.info('agent stops; tasks go on', { signal });
      stopped = agent.stop();
    });
  }
  const service = serviceOf(log);
  try {
    await agent.run(() => service.ready());
    await stopped;
  } finally {
    service.stopping();
    clearInterval(keepAlive);
    stop();
  }
}

function serviceOf(log: Log): SystemdService {
  const environment = readServiceEnvironment(process.env, process.pid);
  return new SystemdService(environment, { clock: systemClock, log, pid: process.pid });
}

function complain(error: unknown): number {
  const fault = isAppError(error) ? error : new AppError('internal', 'the agent stopped on a bug', { cause: error });
  console.error(`berth agent: ${fault.message}`);
  if (fault.hint) console.error(`  ${fault.hint}`);
  if (fault.code === 'internal') console.error(fault.cause);
  return CODES[fault.code].exitCode;
}
