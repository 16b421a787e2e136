import { Command, CommanderError } from 'commander';
import { VERSION } from '../../shared/version.js';
import { addAboutCommands } from './commands/about.js';
import { addArtifactCommands } from './commands/artifacts.js';
import { addControlCommands } from './commands/control.js';
import { addDoctorCommand } from './commands/doctor.js';
import { addEventsCommand } from './commands/events.js';
import { addListCommands } from './commands/list.js';
import { addLogsCommand } from './commands/logs.js';
import { addNodeCommands } from './commands/nodes.js';
import { addPlanCommand } from './commands/plan.js';
import { addPoolCommands } from './commands/pools.js';
import { addReportCommand } from './commands/report.js';
import { addSecretsCommand } from './commands/secrets.js';
import { addSubmitCommands } from './commands/submit.js';
import { addUpCommand } from './commands/up.js';
import { addWhenCommand } from './commands/when.js';
import { addWhyCommand } from './commands/why.js';
import type { Context } from './context.js';
import { EXIT, exitCodeOfError } from './exit-code.js';
import { printFault } from './format/fault.js';
import { examples, type Host } from './host.js';

/** Commands after whose `--` come another program's words. */
const TAKES_TRAILING = new Set(['run', 'submit', 'plan']);

const DAEMONS_HELP = `
Daemons:
  coordinator [flags]     decide where tasks run (see berth coordinator --help)
  agent [flags]           run tasks on this machine (see berth agent --help)

Without any coordinator:
  simulate [scenario]     try pools out on arriving jobs, in no time (see berth simulate --help)

The coordinator is found by BERTH_URL with BERTH_TOKEN or BERTH_TOKEN_FILE, or on its own machine by
BERTH_STATE_DIR (else /var/lib/berth or ~/.berth). BERTH_CA_FILE names certificates to trust for https.`;

/** Runs the command-line client with the words after `berth`. Prints its own errors; returns the exit code. */
export async function runClient(argv: readonly string[], context: Context): Promise<number> {
  const { words, trailing } = splitTrailing(argv);
  let exitCode: number = EXIT.succeeded;
  const program = baseProgram(context);
  const exit = (code: number): void => {
    exitCode = code;
  };
  const host: Host = { program, context, trailing, exit };
  addAll(host);
  try {
    await program.parseAsync(words, { from: 'user' });
    return exitCode;
  } catch (error) {
    if (error instanceof CommanderError) return error.exitCode === 0 ? EXIT.succeeded : EXIT.usage;
    printFault(context.err, error);
    return exitCodeOfError(error);
  }
}

function baseProgram(context: Context): Command {
  return new Command('berth')
    .description('A lightweight batch scheduler.')
    .version(`berth ${VERSION}`, '-V, --version', 'print the version')
    .exitOverride()
    .configureOutput({
      writeOut: (text) => context.out.write(text),
      writeErr: (text) => context.err.write(text),
      outputError: (text, write) => write(text.replace(/^error: /, 'berth: ')),
      getOutHelpWidth: () => Math.min(HELP_COLUMNS, context.out.columns()),
      getErrHelpWidth: () => Math.min(HELP_COLUMNS, context.err.columns()),
    })
    .helpCommand('help [command]', 'print the help of a command')
    .addHelpText(
      'after',
      `${DAEMONS_HELP}\n` +
        examples('berth up', 'berth run -- echo hello', 'berth run --array 1-100 job.sh', 'berth logs -f last'),
    );
}

const HELP_COLUMNS = 110;

/** In the order of the help: first what users do, then operators. */
function addAll(host: Host): void {
  addSubmitCommands(host);
  addPlanCommand(host);
  addListCommands(host);
  addLogsCommand(host);
  addWhyCommand(host);
  addWhenCommand(host);
  addControlCommands(host);
  addArtifactCommands(host);
  addNodeCommands(host);
  addPoolCommands(host);
  addReportCommand(host);
  addSecretsCommand(host);
  addEventsCommand(host);
  addUpCommand(host);
  addDoctorCommand(host);
  addAboutCommands(host);
}

function splitTrailing(argv: readonly string[]): { words: string[]; trailing: readonly string[] | undefined } {
  const at = argv.indexOf('--');
  if (at === -1 || !TAKES_TRAILING.has(argv[0] ?? '')) return { words: [...argv], trailing: undefined };
  return { words: argv.slice(0, at), trailing: argv.slice(at + 1) };
}
