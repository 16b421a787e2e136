import { Option } from 'commander';
import { AppError, isRefusal } from '../../../shared/errors.js';
import { attend } from '../attend.js';
import { EXIT, exitCodeOfError } from '../exit-code.js';
import { printFault } from '../format/fault.js';
import { examples, type Host, optionalDurationFlag } from '../host.js';
import { addSpecFlags, FILE_HELP, type JobFlags, needsDashes, readSpec } from '../job-source.js';
import { announce, submitSpec } from '../submit.js';

interface AttendFlags {
  readonly wait?: true;
  readonly detach?: true;
  readonly timeout?: string;
  readonly print?: true;
}

type Flags = AttendFlags & JobFlags;

/** `run` stays with the job, as a shell would; `submit` leaves it, as a batch system would. */
export function addSubmitCommands(host: Host): void {
  const run = host.program
    .command('run')
    .summary('run a command or a job file and stay with it')
    .description("Submit a job, print its output as it comes, and exit with its task's exit code.")
    .usage('[flags] -- command [args...]\n       berth run [flags] FILE [-- args...]')
    .argument('[file...]', FILE_HELP)
    .option('--wait', 'stay until the job is finished (as is the default)')
    .addOption(new Option('-d, --detach', 'print the id and leave').conflicts('wait'))
    .option('--timeout <duration>', 'stay no longer than this (exit code 124); the job continues')
    .option('--print', 'print the job specification that would be submitted, and submit nothing')
    .addHelpText(
      'after',
      examples(
        'berth run -- echo hello',
        'berth run -c 4 -m 15GiB -t 4m -- ./align scan-7.nii',
        "berth run --array 1-100 -- sh -c 'echo task $BERTH_TASK_INDEX'",
        'berth run -d job.yaml',
        'berth run --cpus 8 train.sh -- --epochs 10',
      ),
    )
    .action(async (words: string[], flags: Flags) => {
      if (words.length > 1) throw needsDashes(words.join(' '));
      host.exit(await perform(host, { file: words[0], flags, staysByDefault: true }));
    });
  const submit = host.program
    .command('submit')
    .summary('submit a job file')
    .description('Submit a job file and print its id.')
    .usage('[flags] FILE [-- args...]')
    .argument('<file>', FILE_HELP)
    .option('--wait', "wait until the job is finished and exit with its task's exit code")
    .option('--timeout <duration>', 'with --wait, wait no longer than this (exit code 124); the job continues')
    .option('--print', 'print the job specification that would be submitted, and submit nothing')
    .addHelpText(
      'after',
      examples('berth submit job.yaml', 'berth submit --wait train.sh', 'berth submit - < job.yaml'),
    )
    .action(async (file: string, flags: Flags) => {
      host.exit(await perform(host, { file, flags, staysByDefault: false }));
    });
  for (const command of [run, submit]) addSpecFlags(command);
}

interface Submission {
  readonly file: string | undefined;
  readonly flags: Flags;
  readonly staysByDefault: boolean;
}

async function perform(host: Host, { file, flags, staysByDefault }: Submission): Promise<number> {
  const { context, trailing } = host;
  const timeoutMs = optionalDurationFlag('--timeout', flags.timeout);
  const spec = await readSpec(context, { file, flags, trailing });
  if (isRefusal(spec)) {
    const fault = AppError.fromRefusal(spec);
    printFault(context.err, fault, file === '-' ? '<stdin>' : file);
    return exitCodeOfError(fault);
  }
  if (flags.print) {
    const { formatJobSpec } = await import('../../../shared/job-spec/format.js');
    context.out.write(`${JSON.stringify(formatJobSpec(spec), null, 2)}\n`);
    return EXIT.succeeded;
  }
  const job = await submitSpec(context, spec);
  const stays = flags.wait ?? (staysByDefault && !flags.detach);
  if (!stays || !staysByDefault) announce(context, job);
  return stays ? attend(context, [job], { timeoutMs, showsOutput: staysByDefault }) : EXIT.succeeded;
}
