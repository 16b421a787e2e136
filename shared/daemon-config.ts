import { readFileSync } from 'node:fs';
import { type GivenValues, readSettings, type Setting, type Settings, Unfit } from './config.js';
import { AppError, isRefusal } from './errors.js';

const LOG_LEVELS = ['debug', 'info', 'warn', 'error', 'silent'];

/** What every daemon can be told. */
export const DAEMON_SETTINGS = {
  config: { parse: parseText, placeholder: 'FILE', help: 'YAML file with these settings as keys (stateDir, ...)' },
  logLevel: { parse: parseLogLevel, placeholder: 'LEVEL', help: `${LOG_LEVELS.join(', ')} (info)` },
} as const satisfies Settings;

/** Where a daemon's settings come from, besides the file that they may name. */
export interface DaemonSources {
  readonly argv: readonly string[];
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly envPrefix: string;
}

/**
 * The settings of a daemon, with those of the file that `--config` names.
 *
 * Throws `invalid-request` with every problem found.
 */
export async function readDaemonSettings<Schema extends Settings & { readonly config: Setting<string> }>(
  schema: Schema,
  sources: DaemonSources,
): Promise<GivenValues<Schema>> {
  const read = (file: unknown): GivenValues<Schema> => {
    const given = readSettings(schema, { ...sources, file });
    if (isRefusal(given)) throw AppError.fromRefusal(given);
    return given.values;
  };
  const given = read(null);
  const path: unknown = given.config;
  return typeof path === 'string' ? read(await load(path)) : given;
}

async function load(path: string): Promise<unknown> {
  const { parse } = await import('yaml');
  try {
    return parse(readFileSync(path, 'utf8'));
  } catch (cause) {
    const detail = `cannot read the configuration file ${path}: ${(cause as Error).message}`;
    throw new AppError('invalid-request', detail, { cause });
  }
}

export function parseText(value: string): string | Unfit {
  return value === '' ? new Unfit('it must not be empty') : value;
}

function parseLogLevel(value: string): string | Unfit {
  return LOG_LEVELS.includes(value) ? value : new Unfit(`"${value}" is not one of ${LOG_LEVELS.join(', ')}`);
}
