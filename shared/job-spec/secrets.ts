import { SECRET_NAME, SHELL_OWN } from '../secrets.js';
import { shown } from '../units.js';
import { envNameComplaint } from './env.js';
import { SECRET_SHAPE } from './fields.js';
import { child, type Field, invalid, isRecord } from './findings.js';
import { hasShape, readList, readOr, readText } from './read.js';
import { type SecretUse, SPEC_LIMITS } from './spec.js';

/** The secrets that a step's tasks get, and how; undefined when there are none. A bare name is a file of that name. */
export function readSecrets(field: Field, env: Readonly<Record<string, string>>): readonly SecretUse[] | undefined {
  const uses = readList(field, SPEC_LIMITS.maxSecrets, readUse);
  if (uses === undefined || uses.length === 0) return undefined;
  const variables = new Set(Object.keys(env));
  const files = new Set<string>();
  for (const { env: variable, file } of uses) {
    if (variable !== undefined && variables.has(variable)) {
      invalid(field, `sets the variable ${variable}, which is set already; use each name once`);
    }
    if (file !== undefined && files.has(file)) invalid(field, `has two files "${file}"; use each name once`);
    if (variable !== undefined) variables.add(variable);
    if (file !== undefined) files.add(file);
  }
  return uses;
}

function readUse(field: Field): SecretUse | undefined {
  if (typeof field.value === 'string') return useOf(readSecretName(field), {});
  if (!isRecord(field.value))
    return invalid(field, `${shown(field.value)} is not a secret; write {name: token, env: TOKEN}`);
  hasShape(field, SECRET_SHAPE, 'an object with name, env, file');
  return useOf(readSecretName(child(field, 'name')), {
    env: readOr(child(field, 'env'), readVariable, undefined),
    file: readOr(child(field, 'file'), readFileName, undefined),
  });
}

interface Places {
  readonly env?: string | undefined;
  readonly file?: string | undefined;
}

function useOf(name: string | undefined, { env, file }: Places): SecretUse | undefined {
  if (name === undefined) return undefined;
  if (env === undefined) return { name, file: file ?? name };
  return { name, env, ...(file === undefined ? {} : { file }) };
}

function readSecretName(field: Field): string | undefined {
  if (field.value === undefined) return invalid(field, 'is missing; it is the name that `berth secrets set` was given');
  const name = readText(field, 'the name of a secret');
  if (name === undefined || SECRET_NAME.test(name)) return name;
  return invalid(field, `${shown(name)} is not the name of a secret; use letters, digits, ".", "_", ":", "-"`);
}

function readVariable(field: Field): string | undefined {
  const name = readText(field, 'the name of a variable');
  if (name === undefined) return undefined;
  const complaint = SHELL_OWN.test(name) ? 'means something to the shell; use another name' : envNameComplaint(name);
  return complaint === undefined ? name : invalid(field, `${shown(name)} ${complaint}`);
}

function readFileName(field: Field): string | undefined {
  const name = readText(field, 'the name of a file');
  if (name === undefined || SECRET_NAME.test(name)) return name;
  return invalid(field, `${shown(name)} is not a plain file name; use letters, digits, ".", "_", ":", "-"`);
}
