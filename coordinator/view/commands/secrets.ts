import { readFile } from 'node:fs/promises';
import { Readable } from 'node:stream';
import { type Command, Option } from 'commander';
import { AppError } from '../../../shared/errors.js';
import { SPEC_DEFAULTS } from '../../../shared/job-spec/spec.js';
import { isReadableByOthers } from '../../../shared/transport.js';
import type { SecretView } from '../api.js';
import { segment } from '../client.js';
import { readVariable } from '../config.js';
import { type Context, remark } from '../context.js';
import { EXIT } from '../exit-code.js';
import { printListing } from '../format/listing.js';
import type { Column } from '../format/table.js';
import { age } from '../format/time.js';
import { examples, type FormatFlags, formatOption, type Host } from '../host.js';

interface NamespaceFlag {
  readonly namespace: string;
}

interface SetFlags extends NamespaceFlag {
  readonly fromFile?: string;
  readonly fromEnv?: string;
}

export function addSecretsCommand(host: Host): void {
  const { context } = host;
  const secrets = host.program
    .command('secrets')
    .summary('keep what tasks need to know and nobody should see')
    .description(
      'Keep secrets for the jobs of a namespace, which name them in a step\'s "secrets". No value is shown again.',
    );
  addSet(host, secrets);
  secrets
    .command('ls')
    .summary('list secrets, without their values')
    .addOption(formatOption())
    .action(async (flags: FormatFlags) => host.exit(await list(context, flags)));
  secrets
    .command('rm')
    .summary('remove a secret')
    .description('Remove a secret. Tasks that need it wait; those that run keep the value that they were given.')
    .argument('<name>')
    .addOption(namespaceOption())
    .action(async (name: string, { namespace }: NamespaceFlag) => {
      await context.api.document({ method: 'DELETE', path: pathOf(namespace, name) });
      context.out.write(`${name} removed\n`);
    });
  secrets
    .command('rotate-key')
    .summary('seal all secrets under a new key')
    .description(
      'Seal all secrets under a new key and delete the old one; or, if the operator gives the keys, the first.',
    )
    .action(async () => {
      const { secretCount } = await context.api.post<{ secretCount: number }>('/secrets/rotate-key');
      context.out.write(`${secretCount} secrets sealed under the new key\n`);
    });
}

function addSet(host: Host, secrets: Command): void {
  secrets
    .command('set')
    .summary('make or replace a secret')
    .description(
      'Make or replace a secret. Its value comes from standard input, less one line end; never from an argument.',
    )
    .argument('<name>')
    .addOption(namespaceOption())
    .addOption(new Option('--from-file <file>', 'the bytes of this file').conflicts('fromEnv'))
    .option('--from-env <variable>', 'the value of this variable')
    .addHelpText(
      'after',
      examples(
        'berth secrets set db-password --namespace research < password.txt',
        'berth secrets set tls-key --from-file key.pem',
        'printf %s "$USER:$TOKEN" | berth secrets set registry:ghcr.io',
      ),
    )
    .action(async (name: string, flags: SetFlags) => {
      const bytes = await givenValue(host.context, flags);
      await warnOfReaders(host.context);
      await host.context.api.document({
        method: 'PUT',
        path: pathOf(flags.namespace, name),
        content: Readable.from([bytes]),
      });
      host.context.out.write(`${name} set\n`);
    });
}

/** Said before it is sent, and sent all the same: the network may be trusted. */
async function warnOfReaders(context: Context): Promise<void> {
  const { url } = await context.api.locate();
  if (isReadableByOthers(url))
    remark(context, `WARNING: the value is sent unencrypted to ${url}; anybody on the way can read it`);
}

function namespaceOption(): Option {
  return new Option('--namespace <name>', 'whose jobs may have it').default(SPEC_DEFAULTS.namespace);
}

function pathOf(namespace: string, name: string): string {
  return `/secrets/${segment(namespace)}/${segment(name)}`;
}

async function givenValue(context: Context, { fromFile, fromEnv }: SetFlags): Promise<Uint8Array> {
  if (fromFile !== undefined) return readValue(fromFile);
  if (fromEnv !== undefined) {
    const value = readVariable(fromEnv);
    if (value !== undefined) return Buffer.from(value);
    throw new AppError('invalid-request', `--from-env: the variable ${fromEnv} is not set`);
  }
  const text = await context.readInput();
  if (!text.includes('\uFFFD')) return Buffer.from(text.replace(/\r?\n$/, ''));
  throw new AppError('invalid-request', 'standard input is not UTF-8 text', {
    hint: 'use --from-file for other bytes',
  });
}

async function readValue(path: string): Promise<Uint8Array> {
  try {
    return await readFile(path);
  } catch (cause) {
    throw new AppError('invalid-request', `--from-file: ${(cause as Error).message}`, { cause });
  }
}

async function list(context: Context, { output }: FormatFlags): Promise<number> {
  const document = await context.api.get<{ secrets: readonly SecretView[] }>('/secrets');
  const now = context.clock.now();
  const columns: readonly Column<SecretView>[] = [
    { title: 'NAMESPACE', text: ({ namespace }) => namespace },
    { title: 'NAME', text: ({ name }) => name },
    { title: 'AGE', text: ({ setAt }) => age(setAt, now), align: 'right' },
    { title: 'BY', text: ({ setBy }) => setBy },
  ];
  printListing(context, output, { document, rows: document.secrets, columns, name: ({ name }) => name });
  return EXIT.succeeded;
}
