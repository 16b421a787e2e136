import { systemClock } from '../../../shared/clock.js';
import { type AppError, CODES, isAppError } from '../../../shared/errors.js';
import { systemRandom } from '../../../shared/random.js';
import { asHpcError, type HpcBackend, HpcError } from '../backend.js';
import { openBackend } from '../backends/open-backend.js';
import type { HpcErrorKind } from '../remote-job.js';
import type { HpcTarget } from '../target.js';
import { type CheckConfig, type RunConfig, readGrants, readHpcCommand, readMeans, tagOf } from './config.js';
import { Connector, type ConnectorEnd } from './connector.js';
import { exitCodeOfEnd, sentenceOfEnd } from './exit-code.js';
import type { Print } from './follow.js';
import { loadJob, loadTarget } from './load-job.js';
import { RecordFile } from './record.js';
import { checkUploads } from './staging.js';

/** Timers of ours do not keep the process alive; this one does. */
const KEEP_ALIVE_MS = 2 ** 30;
const NAME_BYTES = 6;
const EXIT_CODES: Readonly<Record<HpcErrorKind, number>> = {
  credentials: 77,
  unavailable: 69,
  refused: 64,
  'unknown-job': 64,
  configuration: 78,
};

/** `berth hpc`. Resolves to the process's exit code. */
export async function main(argv: readonly string[]): Promise<number> {
  const keepAlive = setInterval(() => {}, KEEP_ALIVE_MS);
  try {
    const command = readHpcCommand(argv.length === 0 ? ['--help'] : argv);
    if (command.kind === 'run') return await run(command.config);
    if (command.kind === 'check') return await check(command.config);
    return command.exitCode;
  } catch (error) {
    return complain(error);
  } finally {
    clearInterval(keepAlive);
  }
}

async function run(config: RunConfig): Promise<number> {
  const target = await loadTarget(config.config, over(config));
  const name = config.name ?? `run-${systemRandom.token(NAME_BYTES)}`;
  const job = loadJob(config.job, target, tagOf(name));
  checkUploads(job.uploads);
  const grants = () => readGrants(config.secretsDir, job.secrets);
  // One that is missing is told before anything is done.
  await grants();
  const backend = openBackend(target, readMeans(config.secretsDir));
  const say = (line: string): void => console.error(`hpc/${target.name} ${name}: ${line}`);
  const connector = new Connector({
    target,
    job,
    grants,
    backend,
    say,
    clock: systemClock,
    file: new RecordFile(config.stateDir, name),
    print: config.printLogs ? print : undefined,
    outputFolder: config.outputDir,
    graceMs: config.graceMs,
  });
  for (const signal of ['SIGINT', 'SIGTERM'] as const) {
    process.once(signal, () => {
      // A second signal ends the process at once, and leaves the job as it is.
      process.once(signal, () => process.exit(exitCodeOfEnd({ kind: 'given-up' })));
      say(`${signal}: the job is to be canceled`);
      connector.cancel();
    });
  }
  try {
    if (connector.mirror.phase.kind === 'looking') await refuseEarly(backend);
    const end: ConnectorEnd = await connector.run();
    say(sentenceOfEnd(end));
    return exitCodeOfEnd(end);
  } finally {
    await backend.close();
  }
}

/** What is set up wrongly is said before anything is submitted; a site that is away is waited for. */
async function refuseEarly(backend: HpcBackend): Promise<void> {
  try {
    await backend.check(new AbortController().signal);
  } catch (error) {
    const { kind } = asHpcError(error, 'looking at the site');
    if (kind === 'configuration' || kind === 'refused') throw error;
  }
}

async function check(config: CheckConfig): Promise<number> {
  const target = await loadTarget(config.config, over(config));
  const backend = openBackend(target, readMeans(config.secretsDir));
  try {
    const site = await backend.check(new AbortController().signal);
    const accounting = site.hasAccounting
      ? 'tells of jobs that ended long ago'
      : 'forgets jobs some time after their end';
    const partitions = site.partitions.length === 0 ? '' : `; partitions: ${site.partitions.join(', ')}`;
    console.log(`hpc/${target.name}: ${site.system}${partitions}; it ${accounting}`);
    return 0;
  } finally {
    await backend.close();
  }
}

function over(config: {
  readonly backend: string | undefined;
  readonly monitoringPeriod?: string | undefined;
}): Partial<Record<keyof HpcTarget, string>> {
  return {
    ...(config.backend === undefined ? {} : { backend: config.backend as HpcTarget['backend'] }),
    ...(config.monitoringPeriod === undefined ? {} : { period: config.monitoringPeriod }),
  };
}

const print: Print = (stream, bytes) =>
  new Promise((resolve, reject) => {
    const screen = stream === 'out' ? process.stdout : process.stderr;
    screen.write(bytes, (error) => (error ? reject(error) : resolve()));
  });

function complain(error: unknown): number {
  if (error instanceof HpcError) {
    console.error(`berth hpc: ${error.kind}: ${error.message}`);
    return EXIT_CODES[error.kind];
  }
  if (!isAppError(error)) throw error;
  console.error(`berth hpc: ${error.message}`);
  return CODES[(error satisfies AppError).code].exitCode;
}
