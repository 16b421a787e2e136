import { SHA256, sha256OfUrl } from '../artifact.js';
import { globComplaint } from '../glob.js';
import { STEP_NAME } from '../ids.js';
import { relativePathComplaint } from '../relative-path.js';
import { shown } from '../units.js';
import { EDGE_SHAPE, INPUT_SHAPE, OUTPUT_SHAPE } from './fields.js';
import { child, type Field, invalid, isRecord } from './findings.js';
import { hasShape, readBoolean, readList, readOneOf, readOr, readText } from './read.js';
import { type EdgeTasks, type InputSource, type InputSpec, type OutputSpec, STAGING_LIMITS } from './staging-spec.js';

/** Undefined when there are none. */
export function readInputs(field: Field): readonly InputSpec[] | undefined {
  const inputs = readList(field, STAGING_LIMITS.maxInputs, readInput);
  return inputs?.length === 0 ? undefined : inputs;
}

export function readOutputs(field: Field): readonly OutputSpec[] | undefined {
  const outputs = readList(field, STAGING_LIMITS.maxOutputs, readOutput);
  return outputs?.length === 0 ? undefined : outputs;
}

function readInput(field: Field): InputSpec | undefined {
  if (!hasShape(field, INPUT_SHAPE, 'an input, which is an object with from and to')) return undefined;
  const source = readSource(field);
  const to = child(field, 'to');
  if (to.value === undefined) invalid(to, 'is missing; say where in the workspace the file goes');
  const path = readOr(to, readPath, undefined);
  const sha256 = readOr(child(field, 'sha256'), readSha256, undefined);
  const mode = readOr(child(field, 'mode'), readMode, undefined);
  if (source === undefined || path === undefined) return undefined;
  return { source, to: path, ...(sha256 === undefined ? {} : { sha256 }), ...(mode === undefined ? {} : { mode }) };
}

function readSource(field: Field): InputSource | undefined {
  const from = child(field, 'from');
  const content = child(field, 'content');
  if ((from.value === undefined) === (content.value === undefined)) {
    return invalid(from, 'or "content" is needed, and not both; write from: https://…, or content: text');
  }
  if (content.value !== undefined) return readContent(content);
  return isRecord(from.value) ? readEdge(from) : readUrl(from);
}

function readContent(field: Field): InputSource | undefined {
  if (typeof field.value !== 'string') return invalid(field, `${shown(field.value)} is not a text`);
  const bytes = Buffer.byteLength(field.value);
  if (bytes <= STAGING_LIMITS.maxContentBytes) return { kind: 'content', content: field.value };
  return invalid(
    field,
    `is ${bytes} bytes long; at most ${STAGING_LIMITS.maxContentBytes} are allowed, so put it and name it by its digest`,
  );
}

const URL_FORMS = 'file:///PATH, http://, https://, s3://BUCKET/KEY or berth://sha256:DIGEST';

function readUrl(field: Field): InputSource | undefined {
  const url = readText(field, 'where the file comes from');
  if (url === undefined) return undefined;
  const complaint = urlComplaint(url);
  return complaint === undefined ? { kind: 'url', url } : invalid(field, `${shown(url)} ${complaint}`);
}

function urlComplaint(url: string): string | undefined {
  if (url.length > STAGING_LIMITS.maxUrlLength) return `is longer than ${STAGING_LIMITS.maxUrlLength} characters`;
  if (url.startsWith('berth:')) {
    return sha256OfUrl(url) === undefined
      ? 'names no artifact; write berth://sha256:DIGEST as berth put prints it'
      : undefined;
  }
  if (/^file:\/\/\/./.test(url) || /^s3:\/\/[a-z0-9][a-z0-9.-]{1,62}\/.+$/.test(url)) return undefined;
  if (/^https?:/.test(url) && URL.canParse(url)) {
    const { username, password } = new URL(url);
    return username + password === '' ? undefined : 'has a password in it, which everybody could read';
  }
  return `is no place that an input can come from; write ${URL_FORMS}`;
}

function readEdge(field: Field): InputSource | undefined {
  hasShape(field, EDGE_SHAPE, 'an object with step and path');
  const step = readOr(child(field, 'step'), readStepName, undefined);
  const path = readOr(child(field, 'path'), readGlob, '**');
  const tasks = readOr(child(field, 'tasks'), readEdgeTasks, undefined);
  if (child(field, 'step').value === undefined)
    invalid(child(field, 'step'), 'is missing; name the step that leaves it');
  return step === undefined ? undefined : { kind: 'step', step, path, ...(tasks === undefined ? {} : { tasks }) };
}

function readEdgeTasks(field: Field): EdgeTasks | undefined {
  return readOneOf(field, ['same', 'all']);
}

function readStepName(field: Field): string | undefined {
  const name = readText(field, 'the name of a step');
  return name === undefined || STEP_NAME.test(name) ? name : invalid(field, `${shown(name)} is not the name of a step`);
}

function readOutput(field: Field): OutputSpec | undefined {
  if (typeof field.value === 'string') {
    const path = readGlob(field);
    return path === undefined ? undefined : { path };
  }
  if (!hasShape(field, OUTPUT_SHAPE, 'an output: a path, or an object with path, as, required')) return undefined;
  const path = readOr(child(field, 'path'), readGlob, undefined);
  if (child(field, 'path').value === undefined) invalid(child(field, 'path'), 'is missing; say which files are kept');
  const as = readOr(child(field, 'as'), readPath, undefined);
  const isRequired = readOr(child(field, 'required'), readBoolean, false);
  if (path === undefined) return undefined;
  return { path, ...(as === undefined ? {} : { as }), ...(isRequired ? { required: true } : {}) };
}

/** A path below the workspace. */
export function readPath(field: Field): string | undefined {
  const path = readText(field, 'a path below the workspace');
  if (path === undefined) return undefined;
  const complaint = relativePathComplaint(path);
  return complaint === undefined ? path : invalid(field, `${shown(path)} ${complaint}`);
}

function readGlob(field: Field): string | undefined {
  const given = readText(field, 'a path or a pattern below the workspace');
  const glob = given?.replace(/\/$/, '');
  if (glob === undefined) return undefined;
  const complaint = relativePathComplaint(glob) ?? globComplaint(glob);
  return complaint === undefined ? glob : invalid(field, `${shown(given)} ${complaint}`);
}

function readSha256(field: Field): string | undefined {
  const text = readText(field, 'a SHA-256')
    ?.replace(/^sha256:/, '')
    .toLowerCase();
  if (text === undefined || SHA256.test(text)) return text;
  return invalid(field, `${shown(text)} is not a SHA-256; it has 64 hexadecimal digits, as sha256sum prints them`);
}

function readMode(field: Field): number | undefined {
  const text = readText(field, 'permissions in quotes, for example "0755"');
  if (text === undefined) return undefined;
  return /^0?[0-7]{3}$/.test(text)
    ? Number.parseInt(text, 8)
    : invalid(field, `${shown(text)} is not a mode; write three octal digits in quotes, for example "0755"`);
}
