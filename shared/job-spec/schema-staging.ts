import Type from 'typebox';
import { STAGING_LIMITS } from './staging-spec.js';

const closed = { additionalProperties: false } as const;
const SHA256_PATTERN = '^(sha256:)?[0-9a-fA-F]{64}$';
/** Says the most of it; the reader says the rest: no "..", no control characters, no long parts. */
const RELATIVE_PATTERN = '^[^/\\\\][^\\\\]*$';

const relativePath = (description: string) => Type.String({ pattern: RELATIVE_PATTERN, description });

const edge = Type.Object(
  {
    step: Type.String({ description: 'A step with outputs, which is needed thereby.' }),
    path: Type.Optional(relativePath('Which of its outputs: a path, or a pattern with *, ? and **. Default all.')),
    tasks: Type.Optional(
      Type.Union([Type.Literal('same'), Type.Literal('all')], {
        description:
          'Of the task with the same index, or of all, each in a folder named by its index. Default same between equal arrays, else all.',
      }),
    ),
  },
  closed,
);

const input = Type.Object(
  {
    from: Type.Optional(
      Type.Union([
        Type.String({
          pattern: '^(file:///.+|https?://.+|s3://.+|berth://sha256:[0-9a-f]{64}$)',
          maxLength: STAGING_LIMITS.maxUrlLength,
        }),
        edge,
      ]),
    ),
    content: Type.Optional(Type.String({ description: 'The content itself.' })),
    to: relativePath('Where it goes in the workspace; for several files the folder.'),
    sha256: Type.Optional(Type.String({ pattern: SHA256_PATTERN, description: 'What the content must have.' })),
    mode: Type.Optional(Type.String({ pattern: '^0?[0-7]{3}$', description: 'Default 0644.' })),
  },
  { ...closed, oneOf: [{ required: ['from'] }, { required: ['content'] }] },
);

const output = Type.Union([
  relativePath('Files to keep: a path, or a pattern with *, ? and **.'),
  Type.Object(
    {
      path: relativePath('A path, or a pattern with *, ? and **.'),
      as: Type.Optional(relativePath('The name to keep it under; with a pattern the folder.')),
      required: Type.Optional(
        Type.Boolean({ default: false, description: 'A command that succeeds without leaving it has failed.' }),
      ),
    },
    closed,
  ),
]);

const volume = Type.Object(
  {
    name: Type.String({ description: "A volume of the node, by its operator's name." }),
    mount: Type.String({ description: 'Where the task finds it: absolute, or a name in the workspace.' }),
    readOnly: Type.Optional(Type.Boolean({ default: true })),
    subpath: Type.Optional(relativePath('A folder within it.')),
  },
  closed,
);

export const stagingFields = {
  inputs: Type.Optional(
    Type.Array(input, { maxItems: STAGING_LIMITS.maxInputs, description: 'Files put into the workspace before.' }),
  ),
  outputs: Type.Optional(
    Type.Array(output, { maxItems: STAGING_LIMITS.maxOutputs, description: 'Files of the workspace kept afterwards.' }),
  ),
  volumes: Type.Optional(
    Type.Array(volume, { maxItems: STAGING_LIMITS.maxVolumes, description: "Folders of the node's operator." }),
  ),
};
