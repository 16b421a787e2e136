import { readFileSync, writeFileSync } from 'node:fs';
import { basename, dirname, resolve } from 'node:path';
import { Command, CommanderError, InvalidArgumentError, Option } from 'commander';
import { systemClock } from '../../shared/clock.js';
import { AppError, isRefusal } from '../../shared/errors.js';
import { didYouMean } from '../../shared/suggest.js';
import { parseDuration } from '../../shared/units.js';
import { ApiClient } from '../view/client.js';
import { findCoordinator, readClientConfig } from '../view/config.js';
import { type Screen, screenOf } from '../view/context.js';
import { EXIT, exitCodeOfError } from '../view/exit-code.js';
import { printFault } from '../view/format/fault.js';
import { examples } from '../view/host.js';
import { cluesPolicy } from './clues.js';
import { drawHistory } from './draw.js';
import { historyScenario } from './from-history.js';
import { measure } from './measure.js';
import { printMeasures } from './print.js';
import { parseScenario } from './read-scenario.js';
import { ALLOWANCES, type Allowance, allowed, type Scenario } from './scenario.js';
import { simulate } from './simulate.js';

interface Flags {
  readonly output: 'table' | 'json';
  readonly policy: 'berth' | 'clues';
  readonly allow: readonly Allowance[];
  readonly svg?: string;
  readonly fromHistory?: number;
  readonly pools?: string;
}

/** `berth simulate`. Resolves to the process's exit code. */
export async function main(argv: readonly string[]): Promise<number> {
  const config = readClientConfig();
  const out = screenOf(process.stdout, config);
  const err = screenOf(process.stderr, config);
  let file: string | undefined;
  const program = commandOf({ out, err }, async (scenario, flags) => {
    file = scenario;
    await run(out, scenario, flags);
  });
  try {
    await program.parseAsync([...argv], { from: 'user' });
    return EXIT.succeeded;
  } catch (error) {
    if (error instanceof CommanderError) return error.exitCode === 0 ? EXIT.succeeded : EXIT.usage;
    printFault(err, error, file);
    return exitCodeOfError(error);
  }
}

function commandOf(
  { out, err }: { readonly out: Screen; readonly err: Screen },
  action: (file: string | undefined, flags: Flags) => Promise<void>,
): Command {
  return new Command('berth simulate')
    .description('Live through a scenario of pools and arriving jobs with the real scheduler, in no time.')
    .argument('[scenario]', 'a YAML file with pools, jobs and arrivals')
    .addOption(
      new Option('-o, --output <format>', 'how to print the measures').choices(['table', 'json']).default('table'),
    )
    .addOption(
      new Option('--policy <name>', 'who decides about machines: Berth, or the rules of CLUES, for comparison')
        .choices(['berth', 'clues'])
        .default('berth'),
    )
    .option('--allow <means>', `what pools may do beyond the scenario: ${ALLOWANCES.join(',')}`, readAllowances, [])
    .option('--svg <file>', 'draw jobs and nodes by state over time')
    .option('--from-history <span>', 'replay the jobs that a coordinator was given in this time', readSpan)
    .option('--pools <file>', 'the pools to replay them on')
    .addHelpText(
      'after',
      examples(
        'berth simulate scenario.yaml',
        'berth simulate scenario.yaml --allow suspend,predeploy --svg figure.svg',
        'berth simulate --from-history 30d --pools new.yaml -o json',
      ),
    )
    .exitOverride()
    .configureOutput({
      writeOut: (text) => out.write(text),
      writeErr: (text) => err.write(text),
      outputError: (text, write) => write(text.replace(/^error: /, 'berth: ')),
    })
    .action(action);
}

async function run(out: Screen, file: string | undefined, flags: Flags): Promise<void> {
  const given = flags.fromHistory === undefined ? readScenarioFile(file) : await replayed(file, flags);
  const scenario = { ...given, pools: allowed(given.pools, flags.allow) };
  const history = await simulate(scenario, flags.policy === 'clues' ? { scale: cluesPolicy() } : {});
  const measures = measure(history, scenario.pools, scenario.windowMs);
  if (flags.svg !== undefined) writeFileSync(flags.svg, drawHistory(history, scenario.windowMs));
  out.write(
    flags.output === 'json'
      ? `${JSON.stringify(measures, null, 2)}\n`
      : printMeasures(measures, { columns: out.columns(), colors: out.colors }),
  );
}

function readScenarioFile(file: string | undefined): Scenario {
  if (file === undefined) {
    const hint = 'berth simulate scenario.yaml, or: berth simulate --from-history 30d --pools pools.yaml';
    throw new AppError('invalid-request', 'there is no scenario to simulate', { hint });
  }
  const scenario = parseScenario(readText(file), (path) => readFileSync(resolve(dirname(file), path), 'utf8'));
  if (isRefusal(scenario)) throw AppError.fromRefusal(scenario);
  return scenario;
}

async function replayed(file: string | undefined, { fromHistory: spanMs = 0, pools }: Flags): Promise<Scenario> {
  if (file !== undefined) throw new AppError('invalid-request', `${basename(file)} does not go with --from-history`);
  if (pools === undefined) {
    throw new AppError('invalid-request', '--from-history needs --pools', {
      hint: 'say on which pools: --pools pools.yaml',
    });
  }
  const config = readClientConfig();
  const api = new ApiClient({ locate: () => findCoordinator(config), clock: systemClock });
  return historyScenario(api, { poolsText: readText(pools), since: systemClock.now() - spanMs });
}

function readText(file: string): string {
  try {
    return readFileSync(file, 'utf8');
  } catch (error) {
    throw new AppError('invalid-request', `${file} cannot be read: ${error instanceof Error ? error.message : error}`);
  }
}

function readAllowances(text: string): readonly Allowance[] {
  return text.split(',').map((word) => {
    const found = ALLOWANCES.find((allowance) => allowance === word.trim());
    if (found) return found;
    throw new InvalidArgumentError(`"${word}" is not one of ${ALLOWANCES.join(', ')}${didYouMean(word, ALLOWANCES)}`);
  });
}

function readSpan(text: string): number {
  const spanMs = parseDuration(text);
  if (typeof spanMs === 'string') throw new InvalidArgumentError(spanMs);
  return spanMs;
}
