import { systemClock } from '../shared/clock.js';
import { AppError } from '../shared/errors.js';
import { openPinoLog } from '../shared/pino-log.js';
import { VERSION } from '../shared/version.js';
import { dockerOf, secretsRootOf, withDocker } from './compose.js';
import { readAgentConfig } from './config/config.js';
import { carryOut, type GpuOrder } from './discovery/gpu/decide.js';
import { nvidiaSmi } from './discovery/gpu/nvidia-smi.js';
import { readBootId, takeInventory } from './discovery/inventory.js';
import { readIsolation } from './discovery/limits.js';
import { reportOf, reportText } from './discovery/report.js';

/** `berth agent discover`: what this machine would report. */
export async function discover(argv: readonly string[], env: NodeJS.ProcessEnv): Promise<void> {
  const { output, rest } = takeOutputFlag(argv);
  const config = await readAgentConfig(rest, env);
  const options = { ...config, stateDir: null, diskAt: '/', bootId: readBootId(), drivers: ['process'] as const };
  const log = openPinoLog(config.logLevel);
  const { gpuWatch } = config;
  const secretsRoot = secretsRootOf(config, log);
  const signal = new AbortController().signal;
  const [inventory, found, gpus] = await Promise.all([
    takeInventory({ ...options, keepsSecrets: secretsRoot !== undefined, log }),
    dockerOf(config, log, { secretsRoot, hasGpus: () => false })?.offer(),
    gpuWatch ? nvidiaSmi({ ...gpuWatch, clock: systemClock }).read(signal) : { kind: 'absent' as const },
  ]);
  const versions = { berth: VERSION, node: process.versions.node };
  const report = reportOf({ inventory: withDocker(inventory, found), gpus, isolation: readIsolation(), versions });
  console.log(output === 'table' ? reportText(report) : JSON.stringify(report, null, 2));
}

const OUTPUTS = ['json', 'table'];

function takeOutputFlag(argv: readonly string[]): { readonly output: string; readonly rest: readonly string[] } {
  const at = argv.findIndex((flag) => /^(-o|--output)(=|$)/.test(flag));
  if (at < 0) return { output: 'json', rest: argv };
  const [, inline] = (argv[at] ?? '').split('=');
  const output = inline ?? argv[at + 1] ?? '';
  if (!OUTPUTS.includes(output)) throw new AppError('invalid-request', `-o takes ${OUTPUTS.join(' or ')}`);
  return { output, rest: argv.toSpliced(at, inline === undefined ? 2 : 1) };
}

/** `berth agent gpu [list]`, `gpu out DEVICE REASON`, `gpu in DEVICE`; flags as the agent has them. */
export async function decideOnGpu(argv: readonly string[], env: NodeJS.ProcessEnv): Promise<void> {
  const flagsAt = argv.findIndex((word) => word.startsWith('-'));
  const [verb = 'list', device, ...reason] = flagsAt < 0 ? argv : argv.slice(0, flagsAt);
  const { stateDir } = await readAgentConfig(flagsAt < 0 ? [] : argv.slice(flagsAt), env);
  console.log(carryOut(gpuOrderOf(verb, device, reason.join(' ')), stateDir));
}

function gpuOrderOf(verb: string, device: string | undefined, reason: string): GpuOrder {
  if (verb === 'list' && device === undefined) return { verb };
  if (verb === 'in' && device !== undefined && reason === '') return { verb, device };
  if (verb === 'out' && device !== undefined && reason !== '') return { verb, device, reason };
  throw new AppError('invalid-request', `"gpu ${[verb, device, reason].filter(Boolean).join(' ')}" is no order`, {
    hint: 'write: gpu list, gpu out 2 "fan is loud", or gpu in 2',
  });
}
