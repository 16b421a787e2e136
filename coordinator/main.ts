import { AppError, CODES, isAppError } from '../shared/errors.js';
import { openPinoLog } from '../shared/pino-log.js';
import { COORDINATOR_HELP, readCoordinatorConfig } from './config.js';
import { runCoordinator } from './daemon.js';

/** `berth coordinator`. Resolves to the process's exit code. */
export async function main(argv: readonly string[]): Promise<number> {
  if (argv.includes('--help') || argv.includes('-h')) {
    console.log(COORDINATOR_HELP);
    return 0;
  }
  try {
    const config = await readCoordinatorConfig(argv, process.env);
    await runCoordinator(config, openPinoLog(config.logLevel), stopSignal());
    return 0;
  } catch (error) {
    return complain(error);
  }
}

/** A second signal ends the process at once. */
function stopSignal(): AbortSignal {
  const stop = new AbortController();
  for (const signal of ['SIGINT', 'SIGTERM'] as const) {
    process.once(signal, () => {
      process.once(signal, () => process.exit(1));
      stop.abort();
    });
  }
  return stop.signal;
}

function complain(error: unknown): number {
  const fault = isAppError(error)
    ? error
    : new AppError('internal', 'the coordinator stopped on a bug', { cause: error });
  console.error(`berth coordinator: ${fault.message}`);
  if (fault.hint) console.error(`  ${fault.hint}`);
  if (fault.code === 'internal') console.error(fault.cause);
  return CODES[fault.code].exitCode;
}
