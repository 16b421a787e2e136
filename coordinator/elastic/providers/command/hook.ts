import { Unfit } from '../../../../shared/config.js';
import { type ProgramResult, runnerOf } from '../../../../shared/run-program.js';
import { didYouMean } from '../../../../shared/suggest.js';
import { shown } from '../../../../shared/units.js';
import { ProviderError, type ProviderFault, type ProviderTraits, type ProviderWorld } from '../../provider.js';
import { textsSetting } from '../provider-settings.js';

/** A program of the operator's and its arguments, in which `${name}` stands for what an order is about. */
export type Hook = readonly string[];
export type HookValues = Readonly<Record<string, string>>;

export const CREATE_PLACEHOLDERS = [
  ...['cluster', 'instance', 'pool', 'node', 'labels', 'url', 'tokenFile', 'caFile', 'ref'],
  ...['cpus', 'memoryMiB', 'gpus'],
];
export const MACHINE_PLACEHOLDERS = ['ref'];

export interface Hooks {
  readonly create: Hook;
  readonly list: Hook;
  readonly terminate: Hook;
  readonly suspend?: Hook;
  readonly resume?: Hook;
  readonly check?: Hook;
}

export interface HookParts {
  readonly hooks: Hooks;
  readonly traits: ProviderTraits;
  readonly run: HookRunner;
  readonly stateDir: string;
}

const PLACEHOLDER = /\$\{([^}]*)\}/g;
const MAX_OUTPUT_BYTES = 4 * 1024 * 1024;
const MAX_SHOWN_ERROR = 400;

/** What a hook says by its exit code: sysexits.h, as far as it fits. Any other leaves open whether it was done. */
const EXIT_FAULTS: ReadonlyMap<number | null, ProviderFault> = new Map([
  [66, 'not-found'],
  [69, 'capacity'],
  [71, 'quota'],
  [75, 'unavailable'],
  [77, 'credentials'],
  [78, 'configuration'],
  // What a shell says of a program that it cannot run.
  [126, 'configuration'],
  [127, 'configuration'],
]);

/** A setting that is a hook. Of a machine in a list there is also what the list says: `${machine.mac}`. */
export function hookSetting(placeholders: readonly string[]): (given: unknown) => Hook | Unfit {
  return (given) => {
    const argv = textsSetting(given);
    if (argv instanceof Unfit) return argv;
    if (argv.length === 0) return new Unfit('it is empty; write ["/path/of/program", "argument"]');
    const names = argv.flatMap((word) => [...word.matchAll(PLACEHOLDER)].map(([, name = '']) => name));
    const unknown = names.find((name) => !placeholders.includes(name) && !name.startsWith('machine.'));
    if (unknown === undefined) return argv;
    const known = placeholders.map((name) => `\${${name}}`).join(' ');
    return new Unfit(
      `${shown(`\${${unknown}}`)} stands for nothing${didYouMean(unknown, placeholders)} (there are ${known})`,
    );
  };
}

export interface HookRunnerOptions {
  readonly world: ProviderWorld;
  readonly timeLimitMs: number;
}

/** Runs a hook and resolves to what it wrote. Rejects with the fault that its exit code says. */
export type HookRunner = (name: string, hook: Hook, values: HookValues, signal: AbortSignal) => Promise<string>;

export function hookRunnerOf({ world, timeLimitMs }: HookRunnerOptions): HookRunner {
  return async (name, hook, values, signal) => {
    const argv = hook.map((word) => word.replace(PLACEHOLDER, (_, key: string) => filled(name, key, values)));
    const environment = { ...plain(world.environment), ...variablesOf(values) };
    const run = runnerOf({ clock: world.clock, timeLimitMs, maxOutputBytes: MAX_OUTPUT_BYTES, environment });
    return outputOf(name, argv[0] ?? '', await run(argv, signal));
  };
}

function outputOf(name: string, program: string, result: ProgramResult): string {
  if (result.kind === 'absent') {
    throw new ProviderError('configuration', `${name}: there is no program ${program}; write its whole path`);
  }
  if (result.kind === 'failed') throw new ProviderError('unavailable', `${name}: ${result.reason}`);
  if (result.exitCode === 0) return result.stdout;
  const words = result.stderr.trim().slice(-MAX_SHOWN_ERROR) || 'it wrote nothing on stderr';
  const how = result.exitCode === null ? 'was killed' : `ended with exit code ${result.exitCode}`;
  throw new ProviderError(EXIT_FAULTS.get(result.exitCode) ?? 'unavailable', `${name}: ${program} ${how}: ${words}`);
}

function filled(name: string, key: string, values: HookValues): string {
  const value = values[key];
  if (value !== undefined) return value;
  throw new ProviderError('configuration', `${name}: \${${key}} is not known of this machine; give it among its keys`);
}

/** `${memoryMiB}` is also BERTH_MEMORY_MIB, `${machine.mac}` BERTH_MACHINE_MAC. */
function variablesOf(values: HookValues): Record<string, string> {
  const nameOf = (key: string): string =>
    `BERTH_${key
      .replace(/([a-z])([A-Z])/g, '$1_$2')
      .replaceAll('.', '_')
      .toUpperCase()}`;
  return Object.fromEntries(Object.entries(values).map(([key, value]) => [nameOf(key), value]));
}

function plain(environment: ProviderWorld['environment']): Record<string, string> {
  // What is meant for Berth itself is none of the hooks' business.
  const given = Object.entries(environment).filter(
    ([name, value]) => value !== undefined && !name.startsWith('BERTH_'),
  );
  return Object.fromEntries(given.map(([name, value]) => [name, value ?? '']));
}
