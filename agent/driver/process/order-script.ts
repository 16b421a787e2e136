import { readFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { isShellName } from '../../../shared/secrets.js';
import type { StartOrder } from '../../../shared/wire/messages.js';
import { type SecretPlaces, secretComplaint } from '../secret-folder.js';
import { type TaskBase, taskEnvironment } from '../task-environment.js';
import type { Programs } from './programs.js';

/** Read once: from inside a cell it may not be seen. */
const VOLUMES = readFileSync(new URL('./volumes.sh', import.meta.url), 'utf8');

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
  readonly programs: Programs;
  /** Where the task gives up the privileges of its worker. */
  readonly drop?: PrivilegeDrop;
  /** Whose what it binds is to be. */
  readonly owner?: string;
  /** How secrets come to a task that cannot enter the agent's folders: where they are for its worker. */
  readonly secretsBind?: Bind;
  /** The workspace that the task is to have at a place of its own. */
  readonly bind?: Bind;
  /** What volumes.sh is told. */
  readonly volumes?: readonly string[];
  /** Where the task finds what is its alone; undefined for one that has no such folder. */
  readonly workspace: string | undefined;
  readonly pinning?: Pinning | undefined;
}

export interface Bind {
  readonly source: string;
  readonly target: string;
}

/** The cores that are an attempt's own. */
export interface Pinning {
  /** `2,3` */
  readonly list: string;
  /** A program that becomes its further arguments, on these cores; empty where its control group does that. */
  readonly argv: readonly string[];
}

export interface PrivilegeDrop {
  /** A program that becomes its further arguments without any privileges. */
  readonly argv: readonly string[];
  /** What is true of the task's user, and not of the agent's. */
  readonly variables: Readonly<Record<string, string>>;
}

/** The shell text that runs the attempt's command: enter the directory, set the environment for it alone, run it. */
export function orderScript(order: StartOrder, base: TaskBase, places: OrderPlaces): string {
  const argv = order.run.kind === 'command' ? order.run.argv : [places.script, ...order.run.args];
  const { drop, pinning, programs } = places;
  const { directory, envFile } = secretsOf(places);
  const given = { ...base.env, ...drop?.variables };
  const own = {
    ...(places.workspace === undefined ? {} : { BERTH_WORKSPACE: places.workspace }),
    ...(pinning === undefined ? {} : { BERTH_CPU_LIST: pinning.list }),
    ...(directory === null ? {} : { BERTH_SECRETS_DIR: directory }),
    [MARKER]: places.marker,
  };
  const variables = Object.assign(taskEnvironment(order, { ...base, env: given }), own);
  // The job's own variables could make whatever runs before the drop do something else.
  const isTrusted = (name: string): boolean => drop === undefined || !Object.hasOwn(order.env, name);
  const prefix = [...(pinning?.argv ?? []), ...(drop?.argv ?? [])];
  const closed = drop === undefined ? CLOSED : CLOSED_IN_CELL;
  const line = commandLine(argv, { variables, isTrusted, prefix, envFile, closed, programs });
  return [
    ...mounting(order, places),
    entering(order, places),
    'unset OLDPWD',
    // The worker of a task with another user lets that user open the task's output again (`>/dev/stderr`).
    ...(drop ? ['umask 0022', line, 'status=$?', 'umask 0', ...leaving(places), 'return $status'] : [line]),
    // The file is written over, not cut: the end of a longer order may follow.
    'return',
    '',
  ].join('\n');
}

/** What the shell says of a folder that is the user's would only puzzle; one of ours is there. */
function entering({ allocationId, workdir: asked }: StartOrder, { workdir, ledger }: OrderPlaces): string {
  const failed = quoted(`fail ${allocationId} cannot enter the working directory ${workdir}`);
  const enter = `cd -- ${quoted(workdir)}`;
  return `${asked === null ? enter : `{ ${enter}; } 2>/dev/null`} || { echo ${failed} >>${quoted(ledger)}; return 1; }`;
}

/** Where the task sees its secrets. */
function secretsOf({ secrets, secretsBind }: OrderPlaces): SecretPlaces {
  if (secretsBind === undefined) return secrets;
  const inside = (path: string | null): string | null =>
    path === null ? null : join(secretsBind.target, basename(path));
  return { directory: inside(secrets.directory), envFile: inside(secrets.envFile) };
}

/** What has to be there before the working directory can be entered; nothing for most tasks. */
function mounting({ allocationId }: StartOrder, { bind, secretsBind, volumes, owner, ledger }: OrderPlaces): string[] {
  const failing = (why: string): string =>
    `{ echo "fail "${quoted(allocationId)}" ${why}" >>${quoted(ledger)}; return 1; }`;
  const binding = ({ source, target }: Bind, chown: string): string => {
    const place = quoted(target);
    const commands = `mkdir -p -- ${place} && mount --bind -- ${quoted(source)} ${place} && ${chown} -- ${owner} ${place}`;
    return `{ ${commands}; } 2>/dev/null || ${failing('its files cannot be mounted')}`;
  };
  const words = (volumes ?? []).map(quoted).join(' ');
  return [
    ...(bind === undefined ? [] : [binding(bind, 'chown -Rh')]),
    ...(secretsBind === undefined ? [] : [binding(secretsBind, 'chown -R')]),
    ...(volumes === undefined
      ? []
      : [`why=$(/bin/sh -c ${quoted(VOLUMES)} volumes ${words} 2>/dev/null) || ${failing('volumes: $why')}`]),
  ];
}

function leaving({ bind, secretsBind }: OrderPlaces): string[] {
  // What is still in there is killed in a moment, and a worker of volumes too.
  const own = bind === undefined ? [] : ['cd /', `umount --lazy -- ${quoted(bind.target)}`];
  if (secretsBind === undefined) return own;
  const target = quoted(secretsBind.target);
  return [...own, `umount --lazy -- ${target}`, `rmdir -- ${target}`];
}

interface CommandParts {
  readonly variables: Readonly<Record<string, string>>;
  /** Whether a variable may be set before `prefix`. */
  readonly isTrusted: (name: string) => boolean;
  readonly prefix: readonly string[];
  /** Shell text that exports more of them; null when there are none. */
  readonly envFile: string | null;
  readonly closed: string;
  readonly programs: Programs;
}

/** Descriptor 9 is the worker's way back to its own directory, and in a cell 8 the way to the machine's /tmp. */
const CLOSED = '9<&-';
const CLOSED_IN_CELL = '8<&- 9<&-';

function commandLine([name = '', ...args]: readonly string[], parts: CommandParts): string {
  const { variables, isTrusted, prefix, envFile, closed, programs } = parts;
  const env = Object.entries(variables);
  const isAssigned = (name: string): boolean => isShellName(name) && isTrusted(name);
  const assigned = env.filter(([name]) => isAssigned(name)).map(([name, value]) => `${name}=${quoted(value)}`);
  const passed = env.filter(([name]) => !isAssigned(name)).map(([name, value]) => `${name}=${value}`);
  // In a shell of its own: neither the worker's next attempt nor what drops privileges may have them.
  const more = envFile === null ? [] : ['/bin/sh', '-c', '. "$0"; exec "$@"', envFile];
  const own = passed.length > 0 ? [...more, ENV_PROGRAM, ...passed, name] : [...more, name];
  const [program = '', ...rest] = [...prefix, ...own, ...args];
  const found = programs.find(program, variables.PATH ?? '');
  const words = [found ?? program, ...rest].map(quoted).join(' ');
  // By its bare name a shell could take it for a command of its own.
  if (found === undefined) return `( export ${assigned.join(' ')}; exec ${words} ${closed} )`;
  return `${assigned.join(' ')} ${words} ${closed}`;
}

/** What no shell script can carry; undefined when there is nothing. */
export function unrunnable(order: StartOrder): string | undefined {
  const words = order.run.kind === 'command' ? order.run.argv : order.run.args;
  if (order.run.kind === 'command' && words.length === 0) return 'the command is empty';
  const texts = [...words, ...Object.entries(order.env).flat(), order.workdir ?? ''];
  if (texts.some((text) => text.includes('\0'))) return 'the command has a NUL character';
  // Its name goes into the ledger, where a line is a fact.
  if (order.workdir?.includes('\n')) return 'the name of the working directory has a line break';
  const secret = secretComplaint(order);
  if (secret !== undefined) return secret;
  const badName = Object.keys(order.env).find((name) => name === '' || name.includes('='));
  return badName === undefined ? undefined : `"${badName}" is no name of a variable`;
}

const ENV_PROGRAM = '/usr/bin/env';

function quoted(text: string): string {
  return `'${text.replaceAll("'", "'\\''")}'`;
}
