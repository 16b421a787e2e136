import { statSync } from 'node:fs';
import { SHELL_OWN } from '../../../shared/secrets.js';
import type { StartOrder } from '../../../shared/wire/messages.js';
import type { SecretPlaces } from '../secret-folder.js';
import { type TaskBase, taskEnvironment } from '../task-environment.js';

/** Carried in the environment of every process of an attempt; unique on the machine, unlike the allocation id. */
export const MARKER = 'BERTH_ATTEMPT_DIR';

export interface OrderPlaces {
  /** Names the attempt on this machine; the value of MARKER. */
  readonly marker: string;
  readonly workdir: string;
  /** Where the order's script was written; unused for a command. */
  readonly script: string;
  /** The worker's ledger, which is told when the working directory cannot be entered. */
  readonly ledger: string;
  readonly secrets: SecretPlaces;
}

/** The shell text that runs the attempt's command: enter the directory, set the environment for it alone, run it. */
export function orderScript(order: StartOrder, base: TaskBase, places: OrderPlaces): string {
  const failed = `echo ${quoted(`fail ${order.allocationId} cannot enter the working directory ${places.workdir}`)}`;
  const { directory, envFile } = places.secrets;
  const own = { ...(directory === null ? {} : { BERTH_SECRETS_DIR: directory }), [MARKER]: places.marker };
  const variables = { ...taskEnvironment(order, base), ...own };
  const argv = order.run.kind === 'command' ? order.run.argv : [places.script, ...order.run.args];
  return [
    `cd -- ${quoted(places.workdir)} 2>/dev/null || { ${failed} >>${quoted(places.ledger)}; return 1; }`,
    'unset OLDPWD',
    commandLine(argv, { variables, envFile }),
    // The file is written over, not cut: the end of a longer order may follow.
    'return',
    '',
  ].join('\n');
}

interface Environment {
  readonly variables: Readonly<Record<string, string>>;
  /** Shell text that exports more of them; null when there are none. */
  readonly envFile: string | null;
}

function commandLine([name = '', ...args]: readonly string[], { variables, envFile }: Environment): string {
  const env = Object.entries(variables);
  const assigned = env.filter(([name]) => isShellName(name)).map(([name, value]) => `${name}=${quoted(value)}`);
  const passed = env.filter(([name]) => !isShellName(name)).map(([name, value]) => `${name}=${value}`);
  if (envFile !== null) {
    // In a shell of its own: the next attempt of this one must not have them.
    const words = passed.length > 0 ? [ENV_PROGRAM, ...passed, name, ...args] : [name, ...args];
    return `( . ${quoted(envFile)}; export ${assigned.join(' ')}; exec ${words.map(quoted).join(' ')} )`;
  }
  if (passed.length > 0)
    return `${assigned.join(' ')} ${[ENV_PROGRAM, ...passed, name, ...args].map(quoted).join(' ')}`;
  const program = findProgram(name, variables.PATH ?? '');
  // By its bare name a shell could take it for a command of its own.
  if (program === undefined) return `( export ${assigned.join(' ')}; exec ${[name, ...args].map(quoted).join(' ')} )`;
  return `${assigned.join(' ')} ${[program, ...args].map(quoted).join(' ')}`;
}

/** What no shell script can carry; undefined when there is nothing. */
export function unrunnable(order: StartOrder): string | undefined {
  const words = order.run.kind === 'command' ? order.run.argv : order.run.args;
  if (order.run.kind === 'command' && words.length === 0) return 'the command is empty';
  const texts = [...words, ...Object.entries(order.env).flat(), order.workdir ?? ''];
  if (texts.some((text) => text.includes('\0'))) return 'the command has a NUL character';
  // Its name goes into the ledger, where a line is a fact.
  if (order.workdir?.includes('\n')) return 'the name of the working directory has a line break';
  const secret = order.secrets?.find(({ env, value }) => env !== undefined && value?.includes(0));
  if (secret !== undefined) return `the secret "${secret.name}" has a NUL byte, so it can only be a file`;
  const badName = Object.keys(order.env).find((name) => name === '' || name.includes('='));
  return badName === undefined ? undefined : `"${badName}" is no name of a variable`;
}

const ENV_PROGRAM = '/usr/bin/env';
const SHELL_NAME = /^[A-Za-z_][A-Za-z0-9_]*$/;

function isShellName(name: string): boolean {
  return SHELL_NAME.test(name) && !SHELL_OWN.test(name);
}

/** The file that a name means; undefined when there is none, or when it takes a shell to tell. */
function findProgram(name: string, path: string): string | undefined {
  if (name.includes('/')) return name;
  for (const folder of path.split(':')) {
    if (!folder.startsWith('/')) return undefined;
    const file = `${folder}/${name}`;
    const found = statSync(file, { throwIfNoEntry: false });
    if (found?.isFile() && (found.mode & ANY_EXECUTE) !== 0) return file;
  }
  return undefined;
}

const ANY_EXECUTE = 0o111;

function quoted(text: string): string {
  return `'${text.replaceAll("'", "'\\''")}'`;
}
