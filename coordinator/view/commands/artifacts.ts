import { artifactUrl, sha256OfUrl } from '../../../shared/artifact.js';
import { AppError } from '../../../shared/errors.js';
import type { Context } from '../context.js';
import { examples, type Host } from '../host.js';
import { getFile, printArtifact, putFile, putInput } from '../transfer.js';

export function addArtifactCommands(host: Host): void {
  const { program, context } = host;
  program
    .command('put')
    .summary('keep a file at the coordinator, as an input of jobs')
    .description('Keep a file at the coordinator and print the name by which jobs take it as an input.')
    .argument('<file>', 'a file; - for standard input')
    .addHelpText('after', examples('berth put scan.nii', 'tar c scans | berth put -'))
    .action(async (file: string) => {
      const { sha256 } = file === '-' ? await putInput(context) : await putFile(context, file);
      context.out.write(`${artifactUrl(sha256)}\n`);
    });
  program
    .command('get')
    .summary('fetch an artifact')
    .description('Fetch an artifact into a file, or to standard output.')
    .argument('<artifact>', 'berth://sha256:…, as berth put prints it')
    .option('-o, --output <file>', 'where to write it; standard output by default')
    .addHelpText('after', examples('berth get berth://sha256:0f3a… -o scan.nii'))
    .action((artifact: string, { output }: { output?: string }) => get(context, artifact, output));
}

async function get(context: Context, url: string, output: string | undefined): Promise<void> {
  const sha256 = sha256OfUrl(url);
  if (sha256 === undefined) {
    throw new AppError('invalid-request', `"${url}" names no artifact`, { hint: 'write berth://sha256:DIGEST' });
  }
  if (output === undefined || output === '-') await printArtifact(context, { sha256 });
  else await getFile(context, { sha256 }, output);
}
