import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Command, CommanderError, Option } from 'commander';
import { systemClock } from '../../../shared/clock.js';
import { AppError } from '../../../shared/errors.js';
import { NAME } from '../../../shared/ids.js';
import type { SecretUse } from '../../../shared/job-spec/spec.js';
import { SECRET_NAME } from '../../../shared/secrets.js';
import { parseDuration } from '../../../shared/units.js';
import type { SecretGrant } from '../../../shared/wire/messages.js';
import { HpcError } from '../backend.js';
import type { BackendMeans } from '../backends/means.js';
import { TAG } from '../submission.js';
import { BACKENDS } from '../target.js';

/** What `berth hpc run` was told. */
export interface RunConfig {
  readonly config: string;
  readonly job: string;
  readonly backend: string | undefined;
  readonly name: string | undefined;
  readonly monitoringPeriod: string | undefined;
  readonly printLogs: boolean;
  readonly graceMs: number;
  readonly stateDir: string | undefined;
  readonly secretsDir: string | undefined;
  readonly outputDir: string;
}

export interface CheckConfig {
  readonly config: string;
  readonly backend: string | undefined;
  readonly secretsDir: string | undefined;
}

export type HpcCommand =
  | { readonly kind: 'run'; readonly config: RunConfig }
  | { readonly kind: 'check'; readonly config: CheckConfig }
  /** Help was asked for and has been printed, or the command line is wrong and that was said. */
  | { readonly kind: 'none'; readonly exitCode: number };

const DEFAULT_GRACE = '30s';
const USAGE_EXIT = 64;
/** What programs of the batch system need of our own environment; jobs may inherit it, so it holds no secret. */
const PASSED_ON = /^(PATH|HOME|USER|LOGNAME|LANG|LC_[A-Z]+|TZ|SLURM_CONF|SGE_[A-Z_]+|KRB5CCNAME|XDG_RUNTIME_DIR)$/;

/** Reads the words after `berth hpc`. */
export function readHpcCommand(argv: readonly string[]): HpcCommand {
  let found: HpcCommand = { kind: 'none', exitCode: 0 };
  const program = new Command('berth hpc').description('run one job at a remote batch system, without a coordinator');
  program.exitOverride();
  const run = withTarget(program.command('run'), 'submit a job once, follow it, and exit with its exit code');
  run
    .requiredOption('--job <FILE>', 'a job file (YAML, JSON), or a batch script in the terms of the site')
    .option('--name <NAME>', 'the job, over restarts: the same name is the same remote job (default: a new one)')
    .option('--monitoring-period <TIME>', 'look at the job this often, e.g. 10s (default: 2s to 60s, adaptive)')
    .option('--print-logs', "print the job's output as it comes", false)
    .option('--grace <TIME>', 'after SIGINT or SIGTERM, wait this long for the job to be canceled', DEFAULT_GRACE)
    .option('--state-dir <DIR>', 'keep here what must survive a restart (default: the job is found by its name)')
    .option('--output-dir <DIR>', "where the job's outputs are put", '.')
    .action((options) => {
      found = { kind: 'run', config: { ...options, graceMs: duration('--grace', options.grace) } };
    });
  withTarget(
    program.command('check'),
    'look whether jobs could be submitted: connection, credentials, partition',
  ).action((options) => {
    found = { kind: 'check', config: options };
  });
  try {
    program.parse(argv, { from: 'user' });
    return found;
  } catch (error) {
    if (error instanceof CommanderError) return { kind: 'none', exitCode: error.exitCode === 0 ? 0 : USAGE_EXIT };
    throw error;
  }
}

function withTarget(command: Command, description: string): Command {
  return command
    .description(description)
    .requiredOption('--config <FILE>', "the target's configuration (YAML)")
    .addOption(new Option('--backend <NAME>', 'instead of the "backend" in the configuration').choices(BACKENDS))
    .option('--secrets-dir <DIR>', 'a file for each secret that the configuration names, such as tokens and keys');
}

function duration(flag: string, text: string): number {
  const durationMs = parseDuration(text);
  if (typeof durationMs === 'string') throw new AppError('invalid-request', `${flag}: ${durationMs}`);
  return durationMs;
}

/** The tag of a named job. Throws when the name cannot be one. */
export function tagOf(name: string): string {
  const tag = `berth-${name}`;
  if (NAME.test(name) && TAG.test(tag)) return tag;
  const remedy = 'use up to 58 letters, digits, dots, dashes and underscores, with a letter or digit at both ends';
  throw new AppError('invalid-request', `--name: ${JSON.stringify(name)} cannot be a name; ${remedy}`);
}

/** What a job is given of the secrets, as their files are now. */
export async function readGrants(
  secretsDir: string | undefined,
  secrets: readonly SecretUse[],
): Promise<readonly SecretGrant[]> {
  return Promise.all(secrets.map(async (use) => ({ ...use, value: await readSecret(secretsDir, use.name) })));
}

/** What backends get of this process. */
export function readMeans(secretsDir: string | undefined): BackendMeans {
  const env = Object.fromEntries(
    Object.entries(process.env).flatMap(([name, value]) =>
      PASSED_ON.test(name) && value !== undefined ? [[name, value] as const] : [],
    ),
  );
  return {
    clock: systemClock,
    env,
    sshAgentSocket: process.env.SSH_AUTH_SOCK,
    secret: async (name) => (await readSecret(secretsDir, name)).toString('utf8'),
  };
}

/** Read anew each time: whoever renews a token writes it into its file. */
async function readSecret(folder: string | undefined, name: string): Promise<Buffer> {
  if (folder === undefined) {
    throw new HpcError('credentials', `the secret ${name} is needed: give --secrets-dir, with a file of that name`);
  }
  if (!SECRET_NAME.test(name)) throw new HpcError('configuration', `${JSON.stringify(name)} is no name of a secret`);
  try {
    return await readFile(join(folder, name));
  } catch (error) {
    throw new HpcError('credentials', `the secret ${name}: ${(error as Error).message}`, { cause: error });
  }
}
