import { readFile } from 'node:fs/promises';
import type { Command } from 'commander';
import { AppError, isAppError, isRefusal } from '../../../shared/errors.js';
import type { PoolSpec } from '../../../shared/pool.js';
import { suggest } from '../../../shared/suggest.js';
import { type ApiRequest, segment } from '../client.js';
import type { Context } from '../context.js';
import { EXIT } from '../exit-code.js';
import { isTabular, printListing, printOne, tableScreen } from '../format/listing.js';
import { machineColumns, POOL_COLUMNS, poolFields } from '../format/pool.js';
import { renderFields, renderTable } from '../format/table.js';
import { countFlag, examples, type FormatFlags, formatOption, type Host, requiredFlag } from '../host.js';
import type { PoolView } from '../pool-documents.js';

export function addPoolCommands(host: Host): void {
  const { context } = host;
  const pools = host.program
    .command('pools')
    .summary('list pools of rented machines, or look after one')
    .description('List the pools whose machines are started and stopped as they are needed.')
    .addOption(formatOption())
    .addHelpText('after', examples('berth pools', 'berth pools show small', 'berth pools apply pools.yaml'))
    .action(async (flags: FormatFlags) => host.exit(await list(context, flags)));
  pools
    .command('show')
    .summary('show a pool and its machines')
    .argument('<pool>')
    .addOption(formatOption())
    // Wherever it stands, -o is read as an option of `pools`, which has one too.
    .action(async (name: string, _own: FormatFlags, command: Command) =>
      host.exit(await show(context, name, command.optsWithGlobals<FormatFlags>())),
    );
  addChanges(context, pools);
  addIntake(context, pools);
}

function addChanges(context: Context, pools: Command): void {
  pools
    .command('apply')
    .summary('make or change pools')
    .description('Make the pools of a file, or have them otherwise from now on. Pools that it does not name stay.')
    .argument('<file>', 'pools as YAML or JSON; - for standard input')
    .action((file: string) => apply(context, file));
  pools
    .command('rm')
    .summary('remove a pool, and its machines as soon as they have nothing to do')
    .argument('<pool>')
    .action(async (name: string) => {
      await askOf(context, name, { method: 'DELETE', path: pathOf(name) });
      const isGone = !(await allPools(context)).pools.some((pool) => pool.name === name);
      context.out.write(isGone ? `${name} removed\n` : `${name} is removed when its machines are gone\n`);
    });
  pools
    .command('scale')
    .summary('keep so many machines on')
    .description('Keep at least so many machines of a pool on, needed or not; auto leaves it to the pool again.')
    .argument('<pool>')
    .argument('<count>', 'a number of machines, or auto')
    .addHelpText('after', examples('berth pools scale small 3', 'berth pools scale small auto'))
    .action(async (name: string, text: string) => {
      const count = text === 'auto' ? null : countFlag('<count>', text);
      await askOf(context, name, { method: 'POST', path: `${pathOf(name)}/scale`, body: { count } });
      context.out.write(count === null ? `${name} has as many on as it needs\n` : `${name} has at least ${count} on\n`);
    });
}

function addIntake(context: Context, pools: Command): void {
  pools
    .command('enable')
    .summary('undo disable and cordon')
    .argument('<pool>')
    .action((name: string) => setIntake(context, name, { verb: 'enable', body: {} }));
  pools
    .command('disable')
    .summary('start no machine of a pool')
    .description('Start no machine of a pool. Those that are on work on, and go when they have nothing to do.')
    .argument('<pool>')
    .option('--reason <text>', 'why; shown to everybody (required)')
    .action((name: string, { reason }: ReasonFlag) =>
      setIntake(context, name, { verb: 'disable', body: { reason: reasonOf(reason) } }),
    );
  pools
    .command('cordon')
    .summary('start no machine of a pool, and nothing new on its nodes')
    .argument('<pool>')
    .option('--reason <text>', 'why; shown to everybody (required)')
    .action((name: string, { reason }: ReasonFlag) =>
      setIntake(context, name, { verb: 'cordon', body: { reason: reasonOf(reason) } }),
    );
}

interface ReasonFlag {
  readonly reason?: string;
}

function reasonOf(reason: string | undefined): string {
  return requiredFlag('--reason', reason, 'say why, as in --reason "the budget is spent"; others will want to know');
}

async function setIntake(
  context: Context,
  name: string,
  { verb, body }: { readonly verb: string; readonly body: object },
): Promise<void> {
  const pool = await askOf<PoolView>(context, name, { method: 'POST', path: `${pathOf(name)}/${verb}`, body });
  context.out.write(`${name} ${pool.state}\n`);
}

async function list(context: Context, { output }: FormatFlags): Promise<number> {
  const document = await allPools(context);
  if (document.pools.length === 0 && isTabular(output)) {
    context.out.write('no pools; make some with: berth pools apply FILE\n');
    return EXIT.succeeded;
  }
  printListing(context, output, { document, rows: document.pools, columns: POOL_COLUMNS, name: ({ name }) => name });
  return EXIT.succeeded;
}

async function show(context: Context, name: string, { output }: FormatFlags): Promise<number> {
  const pool = await askOf<PoolView>(context, name, { method: 'GET', path: pathOf(name) });
  const screen = tableScreen(context);
  printOne(context, output, {
    document: pool,
    name: pool.name,
    describe: () => {
      const machines = pool.machines ?? [];
      const columns = machineColumns(context.clock.now()).filter(({ isWide }) => output === 'wide' || !isWide);
      const table = machines.length === 0 ? '' : `\n${renderTable(columns, machines, screen)}`;
      return renderFields(poolFields(pool), screen) + table;
    },
  });
  return EXIT.succeeded;
}

/** One after the other, those first that others fall back to; what has been applied stays when a later one is refused. */
async function apply(context: Context, file: string): Promise<void> {
  const text = file === '-' ? await context.readInput() : await readPoolsFile(file);
  const [{ parsePoolsText }, { formatPool }] = await Promise.all([
    import('../../../shared/pool-spec/text.js'),
    import('../../../shared/pool-spec/format.js'),
  ]);
  const specs = parsePoolsText(text, { others: await knownSpecs(context) });
  if (isRefusal(specs)) throw AppError.fromRefusal(specs);
  for (const spec of fallbacksFirst(specs)) {
    await context.api.document({ method: 'PUT', path: pathOf(spec.name), body: formatPool(spec) });
    context.out.write(`${spec.name} applied\n`);
  }
}

async function knownSpecs(context: Context): Promise<readonly PoolSpec[]> {
  const { parsePools } = await import('../../../shared/pool-spec/parse.js');
  const { pools } = await allPools(context);
  const specs = parsePools(pools.map(({ spec }) => spec));
  return isRefusal(specs) ? [] : specs;
}

function fallbacksFirst(specs: readonly PoolSpec[]): readonly PoolSpec[] {
  const ordered = new Set<PoolSpec>();
  const add = (spec: PoolSpec): void => {
    if (ordered.has(spec)) return;
    // No circle: the parser has refused those.
    for (const name of spec.fallback) for (const other of specs) if (other.name === name) add(other);
    ordered.add(spec);
  };
  for (const spec of specs) add(spec);
  return [...ordered];
}

async function readPoolsFile(path: string): Promise<string> {
  try {
    return await readFile(path, 'utf8');
  } catch (cause) {
    throw new AppError('invalid-request', `the file of pools cannot be read: ${(cause as Error).message}`, { cause });
  }
}

function allPools(context: Context): Promise<{ readonly pools: readonly PoolView[] }> {
  return context.api.get('/pools');
}

function pathOf(name: string): string {
  return `/pools/${segment(name)}`;
}

/** An unknown pool is named with the nearest one there is. */
async function askOf<Document = null>(context: Context, name: string, request: ApiRequest): Promise<Document> {
  try {
    return await context.api.document<Document>(request);
  } catch (error) {
    if (!isAppError(error, 'not-found')) throw error;
    const { pools } = await allPools(context);
    const known = pools.map((pool) => pool.name);
    const near = suggest(name, known);
    const hint = near === undefined ? '`berth pools` lists them' : `did you mean ${near}?`;
    throw new AppError('not-found', `there is no pool "${name}"`, { cause: error, hint });
  }
}
