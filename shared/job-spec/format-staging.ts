import type { JsonObject } from './json.js';
import type { StepSpec } from './spec.js';
import type { InputSpec, OutputSpec, VolumeMount } from './staging-spec.js';

/** Inputs, outputs and volumes in the published form; nothing of those that a step has not. */
export function formatStaging({ inputs, outputs, volumes }: StepSpec): JsonObject {
  return {
    ...(inputs === undefined ? {} : { inputs: inputs.map(formatInput) }),
    ...(outputs === undefined ? {} : { outputs: outputs.map(formatOutput) }),
    ...(volumes === undefined ? {} : { volumes: volumes.map(formatVolume) }),
  };
}

function formatInput({ source, to, sha256, mode }: InputSpec): JsonObject {
  return {
    ...formatSource(source),
    to,
    ...(sha256 === undefined ? {} : { sha256 }),
    ...(mode === undefined ? {} : { mode: `0${mode.toString(8).padStart(3, '0')}` }),
  };
}

function formatSource(source: InputSpec['source']): JsonObject {
  switch (source.kind) {
    case 'url':
      return { from: source.url };
    case 'content':
      return { content: source.content };
    case 'step': {
      const { step, path, tasks } = source;
      return { from: { step, path, ...(tasks === undefined ? {} : { tasks }) } };
    }
  }
}

function formatOutput({ path, as, required }: OutputSpec): JsonObject {
  return { path, ...(as === undefined ? {} : { as }), ...(required ? { required } : {}) };
}

function formatVolume({ name, mount, writable, subpath }: VolumeMount): JsonObject {
  return { name, mount, readOnly: !writable, ...(subpath === undefined ? {} : { subpath }) };
}
