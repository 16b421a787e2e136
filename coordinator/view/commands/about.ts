import { VERSION } from '../../../shared/version.js';
import { examples, type Host } from '../host.js';

export function addAboutCommands(host: Host): void {
  const { program, context } = host;
  program
    .command('version')
    .summary('print the version of this program')
    .description('Print the version of this program.')
    .action(() => context.out.write(`berth ${VERSION}\n`));
  program
    .command('schema')
    .summary('print the JSON Schema of job files')
    .description('Print the JSON Schema of job files, for editors and other programs.')
    .addHelpText('after', examples('berth schema > job.schema.json'))
    .action(async () => {
      const { jobSpecJsonSchema } = await import('../../../shared/job-spec/schema.js');
      context.out.write(`${JSON.stringify(jobSpecJsonSchema(), null, 2)}\n`);
    });
}
