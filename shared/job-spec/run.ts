import { shown } from '../units.js';
import { child, type Field, invalid, isRecord, item } from './findings.js';
import { readList, readScalarText, readText } from './read.js';
import { type RunSpec, SPEC_LIMITS, type StepSpec } from './spec.js';

/** Stands in for a run that could not be read; never returned to anyone, since something was reported. */
const NOTHING: RunSpec = { kind: 'command', argv: [] };
const DEFAULT_INTERPRETER = '#!/bin/sh\n';

/** What the step runs: its `command`, or its `script` with `args`. */
export function readRun(step: Field): RunSpec {
  const command = child(step, 'command');
  const script = child(step, 'script');
  const args = child(step, 'args');
  if (command.value !== undefined && script.value !== undefined) {
    invalid(script, 'cannot be given together with "command"; keep one of them');
  } else if (command.value === undefined && script.value === undefined && isRecord(step.value)) {
    invalid(step, 'there is nothing to run; give "command" (a list) or "script" (a text)');
  }
  if (args.value !== undefined && script.value === undefined) {
    invalid(args, 'goes with "script"; write arguments into the "command" list');
  }
  if (script.value !== undefined) return readScript(script, args);
  return command.value === undefined ? NOTHING : { kind: 'command', argv: readCommand(command) };
}

function readCommand(field: Field): readonly string[] {
  if (typeof field.value === 'string') {
    const words = shown(field.value.trim().split(/\s+/));
    invalid(field, `is one text; write a list, as ${words}, or put shell text into "script"`);
    return [];
  }
  const argv = readList(field, SPEC_LIMITS.maxArgs, readArgument) ?? [];
  if (Array.isArray(field.value) && field.value.length === 0)
    invalid(field, 'is empty; the first entry is the program');
  if (argv[0] === '') invalid(item(field, 0, ''), 'is empty; the first entry is the program');
  return argv;
}

function readScript(field: Field, args: Field): RunSpec {
  const script = readText(field, 'a text') ?? '';
  if (field.value === '') invalid(field, 'is empty');
  if (/^#![^\n]*\r/.test(script)) {
    invalid(field, 'has Windows line ends, which its interpreter would not understand; end its lines with LF alone');
  }
  return {
    kind: 'script',
    script: script.startsWith('#!') ? script : DEFAULT_INTERPRETER + script,
    args: args.value === undefined ? [] : (readList(args, SPEC_LIMITS.maxArgs, readArgument) ?? []),
  };
}

function readArgument(field: Field): string | undefined {
  const argument = readScalarText(field, 'a text');
  if (argument === undefined) return undefined;
  const bytes = Buffer.byteLength(argument);
  if (bytes < SPEC_LIMITS.maxArgBytes) return argument;
  return invalid(field, `is ${bytes} bytes long; one argument has fewer than ${SPEC_LIMITS.maxArgBytes}`);
}

const MAX_NAME_LENGTH = 128;

/** The name of a job that was given none: after its command, else after the file it came from, else `job`. */
export function defaultJobName(steps: readonly StepSpec[], fileName: string | undefined): string {
  const [only] = steps;
  const program = steps.length === 1 && only?.run.kind === 'command' ? only.run.argv[0] : undefined;
  return asName(baseName(program ?? '')) || asName(baseName(fileName ?? '').replace(/(.)\.[^.]*$/, '$1')) || 'job';
}

function baseName(path: string): string {
  return path.slice(path.lastIndexOf('/') + 1);
}

function asName(text: string): string {
  const plain = text.replace(/[^A-Za-z0-9._-]+/g, '-').slice(0, MAX_NAME_LENGTH);
  return plain.replace(/^[^A-Za-z0-9]+|[^A-Za-z0-9]+$/g, '');
}
