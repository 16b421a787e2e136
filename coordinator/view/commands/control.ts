import type { JobView } from '../api.js';
import { attend } from '../attend.js';
import { segment } from '../client.js';
import type { Context } from '../context.js';
import { EXIT, exitCodeOfError } from '../exit-code.js';
import { printFault } from '../format/fault.js';
import { jobState } from '../format/job.js';
import { examples, type Host, optionalDurationFlag } from '../host.js';
import { selectJob } from '../selector.js';

const JOBS = 'jobs: j42, last or @name';

export function addControlCommands(host: Host): void {
  addWait(host);
  host.program
    .command('cancel')
    .summary('cancel jobs')
    .description('Cancel jobs: what runs is stopped, what waits never starts.')
    .argument('<job...>', JOBS)
    .option('--reason <text>', 'why, for those who read it later')
    .addHelpText('after', examples('berth cancel last', 'berth cancel j41 j42 --reason "wrong input"'))
    .action(async (targets: string[], { reason }: { reason?: string }) => {
      const body = reason === undefined ? {} : { reason };
      host.exit(await change(host.context, targets, { verb: 'cancel', body }));
    });
  host.program
    .command('hold')
    .summary('start nothing more of jobs')
    .description('Start nothing more of jobs until they are released; what runs goes on.')
    .argument('<job...>', JOBS)
    .addHelpText('after', examples('berth hold @align', 'berth release @align'))
    .action(async (targets: string[]) => host.exit(await change(host.context, targets, { verb: 'hold', body: {} })));
  host.program
    .command('release')
    .summary('undo hold')
    .description('Let held jobs start.')
    .argument('<job...>', JOBS)
    .addHelpText('after', examples('berth release j42'))
    .action(async (targets: string[]) => host.exit(await change(host.context, targets, { verb: 'release', body: {} })));
}

function addWait(host: Host): void {
  host.program
    .command('wait')
    .summary('wait until jobs are finished')
    .description("Wait until all the jobs are finished; exit with the highest of their tasks' exit codes.")
    .argument('<job...>', JOBS)
    .option('--timeout <duration>', 'give up waiting after so long (exit code 124); the jobs continue')
    .addHelpText('after', examples('berth wait last', 'berth wait j41 j42 --timeout 1h'))
    .action(async (targets: string[], { timeout }: { timeout?: string }) => {
      const timeoutMs = optionalDurationFlag('--timeout', timeout);
      const jobs: JobView[] = [];
      for (const target of targets) jobs.push(await selectJob(host.context.api, target));
      host.exit(await attend(host.context, jobs, { timeoutMs, showsOutput: false }));
    });
}

interface Change {
  readonly verb: 'cancel' | 'hold' | 'release';
  readonly body: object;
}

/** Asks for the same change of each job; one that cannot be changed does not keep the others from it. */
async function change(context: Context, targets: readonly string[], { verb, body }: Change): Promise<number> {
  let exitCode: number = EXIT.succeeded;
  for (const target of targets) {
    try {
      const { id } = await selectJob(context.api, target);
      const job = await context.api.post<JobView>(`/jobs/${segment(id)}/${verb}`, body);
      context.out.write(`${job.id} ${jobState(job)}\n`);
    } catch (error) {
      printFault(context.err, error);
      exitCode = Math.max(exitCode, exitCodeOfError(error));
    }
  }
  return exitCode;
}
