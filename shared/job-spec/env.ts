import { type Field, invalid } from './findings.js';
import { readScalarText, readTextMap } from './read.js';
import { SPEC_LIMITS } from './spec.js';

const ENV_NAME = /^[A-Za-z_][A-Za-z0-9_]*$/;

export function readEnv(field: Field): Readonly<Record<string, string>> | undefined {
  return readTextMap(field, { max: SPEC_LIMITS.maxEnvEntries, name: envNameComplaint, value: readEnvValue });
}

/** What is wrong with the name of a variable, if anything. */
export function envNameComplaint(name: string): string | undefined {
  if (name.startsWith('BERTH_')) return 'is reserved; names that begin with BERTH_ are set by Berth itself';
  return ENV_NAME.test(name)
    ? undefined
    : 'is not a variable name; use letters, digits and underscores, no digit first';
}

function readEnvValue(field: Field): string | undefined {
  const value = readScalarText(field, 'a value ("" for an empty one)');
  if (value === undefined) return undefined;
  const bytes = Buffer.byteLength(`${field.path.at(-1)}=${value}`);
  if (bytes < SPEC_LIMITS.maxArgBytes) return value;
  return invalid(field, `is ${bytes} bytes long with its name; fewer than ${SPEC_LIMITS.maxArgBytes} are allowed`);
}
