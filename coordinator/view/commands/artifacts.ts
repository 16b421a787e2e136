import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { artifactUrl, sha256OfUrl } from '../../../shared/artifact.js';
import { AppError } from '../../../shared/errors.js';
import { relativePathComplaint } from '../../../shared/relative-path.js';
import { formatBytes } from '../../../shared/units.js';
import type { JobView, OutputFile, OutputFilePage } from '../api.js';
import { segment } from '../client.js';
import { type Context, remark } from '../context.js';
import { printListing } from '../format/listing.js';
import type { Column } from '../format/table.js';
import { examples, type Host } from '../host.js';
import { untilAnswered } from '../retry.js';
import { selectJobOrTask } from '../selector.js';
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
    .summary('list or fetch what tasks have left')
    .description('List the files that tasks have left, or fetch them into a folder; or fetch an artifact.')
    .argument('<what>', 'a job or a task: j42, last, @name, j42.7; or berth://sha256:…')
    .argument('[path]', 'which files: a path, or a pattern with *, ? and **')
    .option('-o, --output <folder>', 'fetch them into it; - writes a single file to standard output')
    .option('--json', 'list them as JSON')
    .addHelpText(
      'after',
      examples(
        'berth get last',
        'berth get last -o results',
        "berth get j42.7 'result/*.nii' -o .",
        'berth get last log.txt -o -',
      ),
    )
    .action((what: string, path: string | undefined, flags: GetFlags) => get(context, { what, path, ...flags }));
}

interface GetFlags {
  readonly output?: string;
  readonly json?: true;
}

interface Wanted extends GetFlags {
  readonly what: string;
  readonly path: string | undefined;
}

async function get(context: Context, wanted: Wanted): Promise<void> {
  const sha256 = sha256OfUrl(wanted.what);
  if (sha256 !== undefined) return getArtifact(context, sha256, wanted.output);
  const { job, task } = await selectJobOrTask(context.api, wanted.what);
  const outputs = await listOutputs(context, { job, task, path: wanted.path });
  if (wanted.output === undefined) printOutputs(context, outputs, wanted.json === true ? 'json' : 'table');
  else if (outputs.length === 0) throw nothingThere(job, wanted.path);
  else if (wanted.output === '-') await printArtifact(context, onlyOne(outputs));
  else
    await fetchAll(context, {
      outputs,
      folder: wanted.output,
      hasTaskFolders: task === undefined && job.taskCount > 1,
    });
}

async function getArtifact(context: Context, sha256: string, output: string | undefined): Promise<void> {
  if (output === undefined || output === '-') await printArtifact(context, { sha256 });
  else await getFile(context, { sha256 }, output);
}

interface OutputWish {
  readonly job: JobView;
  readonly task: string | undefined;
  readonly path: string | undefined;
}

async function listOutputs(context: Context, { job, task, path }: OutputWish): Promise<readonly OutputFile[]> {
  const outputs: OutputFile[] = [];
  let cursor: string | undefined;
  for (;;) {
    const query = { cursor, task, path };
    const page = await untilAnswered(context, () =>
      context.api.get<OutputFilePage>(`/jobs/${segment(job.id)}/outputs`, { query }),
    );
    outputs.push(...page.outputs);
    if (page.nextCursor === null) return outputs;
    cursor = page.nextCursor;
  }
}

const COLUMNS: readonly Column<OutputFile>[] = [
  { title: 'TASK', text: ({ task }) => task },
  { title: 'SIZE', text: ({ sizeBytes }) => formatBytes(sizeBytes), align: 'right' },
  { title: 'SHA-256', text: ({ sha256 }) => sha256.slice(0, 12) },
  { title: 'PATH', text: ({ path }) => path },
];

function printOutputs(context: Context, outputs: readonly OutputFile[], format: 'table' | 'json'): void {
  const listing = { document: outputs, rows: outputs, columns: COLUMNS, name: ({ path }: OutputFile) => path };
  printListing(context, format, listing);
}

function nothingThere({ id }: JobView, path: string | undefined): AppError {
  return new AppError('not-found', `${id} has left no file${path === undefined ? '' : ` that matches "${path}"`}`, {
    hint: `see what there is with berth get ${id}; what is kept is said by "outputs" in the job`,
  });
}

function onlyOne(outputs: readonly OutputFile[]): OutputFile {
  const [only] = outputs;
  if (only && outputs.length === 1) return only;
  throw new AppError('invalid-request', `${outputs.length} files match; standard output takes one`, {
    hint: 'name one file, or fetch them into a folder with -o FOLDER',
  });
}

interface Fetch {
  readonly outputs: readonly OutputFile[];
  readonly folder: string;
  /** Several tasks may have left files of one name. */
  readonly hasTaskFolders: boolean;
}

/** Never writes outside the folder, nor over a file that is there, whatever the names are. */
async function fetchAll(context: Context, { outputs, folder, hasTaskFolders }: Fetch): Promise<void> {
  for (const output of outputs) {
    const complaint = relativePathComplaint(output.path);
    if (complaint !== undefined) throw new AppError('internal', `the name "${output.path}" ${complaint}`);
    const place = join(folder, hasTaskFolders ? output.task : '', output.path);
    if (existsSync(place)) {
      throw new AppError('conflict', `${place} is there already`, { hint: 'fetch into another folder, or move it' });
    }
    await getFile(context, output, place);
  }
  remark(context, `${outputs.length} ${outputs.length === 1 ? 'file' : 'files'} in ${folder}`);
}
