import type { StartOrder } from '../../../shared/wire/messages.js';
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
}

/** The shell text that becomes the attempt's command: enter the directory, set the environment, exec. */
export function orderScript(order: StartOrder, base: TaskBase, places: OrderPlaces): string {
  const failed = `echo ${quoted(`fail ${order.allocationId} cannot enter the working directory ${places.workdir}`)}`;
  const env = Object.entries({ ...taskEnvironment(order, base), [MARKER]: places.marker });
  const exported = env.filter(([name]) => isShellName(name)).map(([name, value]) => `${name}=${quoted(value)}`);
  const passed = env.filter(([name]) => !isShellName(name)).map(([name, value]) => `${name}=${value}`);
  const argv = order.run.kind === 'command' ? order.run.argv : [places.script, ...order.run.args];
  const command = passed.length === 0 ? argv : ['env', ...passed, ...argv];
  return [
    `cd -- ${quoted(places.workdir)} 2>/dev/null || { ${failed} >>${quoted(places.ledger)}; exit 1; }`,
    'unset OLDPWD',
    `export ${exported.join(' ')}`,
    `exec ${command.map(quoted).join(' ')}`,
    // The file is written over, not cut: the end of a longer order may follow.
    'exit 126',
    '',
  ].join('\n');
}

/** What no shell script can carry; undefined when there is nothing. */
export function unrunnable(order: StartOrder): string | undefined {
  const words = order.run.kind === 'command' ? order.run.argv : order.run.args;
  if (order.run.kind === 'command' && words.length === 0) return 'the command is empty';
  const texts = [...words, ...Object.entries(order.env).flat(), order.workdir ?? ''];
  if (texts.some((text) => text.includes('\0'))) return 'the command has a NUL character';
  // Its name goes into the ledger, where a line is a fact.
  if (order.workdir?.includes('\n')) return 'the name of the working directory has a line break';
  const badName = Object.keys(order.env).find((name) => name === '' || name.includes('='));
  return badName === undefined ? undefined : `"${badName}" is no name of a variable`;
}

/** Variables that mean something to the shell itself and refuse some values; `env` passes them unseen. */
const SHELL_OWN = new Set(['OPTIND', 'LINENO', 'PPID', 'IFS']);
const SHELL_NAME = /^[A-Za-z_][A-Za-z0-9_]*$/;

function isShellName(name: string): boolean {
  return SHELL_NAME.test(name) && !SHELL_OWN.has(name);
}

function quoted(text: string): string {
  return `'${text.replaceAll("'", "'\\''")}'`;
}
