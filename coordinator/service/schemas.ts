import Type, { type TSchema } from 'typebox';

/** Pieces that the schemas of several documents share. */
export const time = (description: string) => Type.String({ format: 'date-time', description });

export function nullable<Schema extends TSchema>(schema: Schema, description?: string) {
  return Type.Union([schema, Type.Null()], description === undefined ? {} : { description });
}

/** One of some words. */
export function oneOf<const Names extends readonly string[]>(names: Names, description?: string) {
  const words = { type: 'string', enum: [...names], ...(description === undefined ? {} : { description }) };
  return Type.Unsafe<Names[number]>(words);
}

const count = Type.Integer({ minimum: 0 });

export const countsSchema = Type.Object(
  { blocked: count, queued: count, placed: count, succeeded: count, failed: count, canceled: count, dropped: count },
  { description: 'How many tasks stand where.' },
);

export const stringMap = Type.Record(Type.String(), Type.String());

/** An instant as RFC 3339 in UTC. */
export function instant(epochMs: number): string {
  return new Date(epochMs).toISOString();
}

export function instantOrNull(epochMs: number | undefined | null): string | null {
  return epochMs === undefined || epochMs === null ? null : instant(epochMs);
}
