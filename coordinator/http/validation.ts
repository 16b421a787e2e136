import { Ajv, type ErrorObject } from 'ajv';
import type { FastifySchemaCompiler, FastifySchemaValidationError } from 'fastify';
import type { Problem } from '../../shared/errors.js';
import { didYouMean } from '../../shared/suggest.js';

/** Query and header values arrive as text and are read as what the schema says; documents mean what they say. */
const ofText = new Ajv({ allErrors: true, verbose: true, coerceTypes: 'array', useDefaults: true });
const ofDocument = new Ajv({ allErrors: true, verbose: true });

/** What Fastify calls to check one part of a request; it fills in defaults, and holds its errors. */
type Validator = ReturnType<FastifySchemaCompiler<unknown>>;

/** A compiled check of one part of a request. */
export function validatorFor({ schema, httpPart }: { schema: unknown; httpPart?: string | undefined }): Validator {
  return (httpPart === 'body' ? ofDocument : ofText).compile(schema as object) as Validator;
}

/** What is wrong, with each field named as the caller wrote it. */
export function problemsOf(errors: readonly FastifySchemaValidationError[], part: string | undefined): Problem[] {
  return (errors as readonly ErrorObject[]).map((error) => {
    const path = error.instancePath.slice(1).replaceAll('/', '.');
    const unknown = error.keyword === 'additionalProperties' ? String(error.params.additionalProperty) : undefined;
    if (unknown === undefined) return { field: path || (part ?? 'request'), message: messageOf(error) };
    const known = Object.keys((error.parentSchema?.properties as object | undefined) ?? {});
    const nearest = didYouMean(unknown, known) || (known.length === 0 ? '' : `; known are ${known.join(', ')}`);
    return { field: path === '' ? unknown : `${path}.${unknown}`, message: `is not known here${nearest}` };
  });
}

function messageOf(error: ErrorObject): string {
  if (error.keyword === 'required') return `"${String(error.params.missingProperty)}" is missing`;
  if (error.keyword !== 'enum') return error.message ?? 'is invalid';
  const allowed = (error.params.allowedValues as readonly unknown[]).map(String);
  return `must be one of ${allowed.join(', ')}${didYouMean(String(error.data), allowed)}`;
}
