import { join } from 'node:path';
import { systemClock } from '../shared/clock.js';
import { AppError, CODES, isAppError } from '../shared/errors.js';
import type { Log } from '../shared/log.js';
import { openPinoLog } from '../shared/pino-log.js';
import { systemRandom } from '../shared/random.js';
import { VERSION } from '../shared/version.js';
import type { Inventory } from '../shared/wire/messages.js';
import { Agent } from './agent.js';
import { AGENT_HELP, type AgentConfig, readAgentConfig, readToken } from './config.js';
import { readBootId, takeInventory } from './discovery/inventory.js';
import { Sampler } from './discovery/sampler.js';
import { processDriver } from './driver/process/process-driver.js';
import { websocketDialer } from './link/websocket-dialer.js';
import { FileAgentStore } from './store/file-store.js';

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
    if (word === 'discover') await discover(rest);
    else await serve(await readAgentConfig(argv, process.env));
    return 0;
  } catch (error) {
    return complain(error);
  }
}

async function serve(config: AgentConfig): Promise<void> {
  const log = openPinoLog(config.logLevel);
  const agent = compose(config, log);
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
  try {
    await agent.run();
    await stopped;
  } finally {
    clearInterval(keepAlive);
  }
}

function compose(config: AgentConfig, log: Log): Agent {
  const { nodeId, stateDir, taskEnv, gpuCount } = config;
  const bootId = readBootId();
  const base = { clock: systemClock, random: systemRandom, log, bootId };
  const task = { nodeName: nodeId, env: taskEnv, hasGpus: gpuCount > 0 };
  let inventory: Promise<Inventory> | undefined;
  let sampler: Sampler | undefined;
  return new Agent({
    ...base,
    nodeId,
    version: VERSION,
    store: new FileAgentStore(stateDir, systemRandom),
    drivers: new Map([['process', processDriver({ ...base, task, directory: join(stateDir, 'process') })]]),
    dial: websocketDialer({ url: config.url, token: readToken(config.tokenFile) }),
    // Taken once, when the state directory exists: a node does not change while its agent runs.
    inventory: () => {
      inventory ??= inventoryOf(config, log);
      return inventory;
    },
    heartbeat: async () => {
      sampler ??= new Sampler(systemClock, stateDir);
      return sampler.sample();
    },
  });
}

function inventoryOf(config: AgentConfig, log: Log): Promise<Inventory> {
  return takeInventory({ ...config, diskAt: config.stateDir, bootId: readBootId(), drivers: ['process'], log });
}

async function discover(argv: readonly string[]): Promise<void> {
  const flags = argv.filter((flag, position) => !isOutputFlag(flag) && !isOutputFlag(argv[position - 1]));
  const config = await readAgentConfig(flags, process.env);
  const options = { ...config, stateDir: null, diskAt: '/', bootId: readBootId(), drivers: ['process'] as const };
  const inventory = await takeInventory({ ...options, log: openPinoLog(config.logLevel) });
  console.log(JSON.stringify(inventory, null, 2));
}

/** `-o json` is accepted for the sake of habit: there is no other form. */
function isOutputFlag(flag: string | undefined): boolean {
  return flag === '-o' || flag === '--output';
}

function complain(error: unknown): number {
  const fault = isAppError(error) ? error : new AppError('internal', 'the agent stopped on a bug', { cause: error });
  console.error(`berth agent: ${fault.message}`);
  if (fault.hint) console.error(`  ${fault.hint}`);
  if (fault.code === 'internal') console.error(fault.cause);
  return CODES[fault.code].exitCode;
}
