import { AppError } from '../../errors.js';
import {
  type AllocationId,
  type JobId,
  NAME,
  type NodeId,
  parseAllocationId,
  parseTaskId,
  type TaskId,
} from '../../ids.js';

/** Checked reading of what a peer sent; every function throws AppError `protocol-violation` that names the field. */
export function violation(field: string, what: string, cause?: unknown): AppError {
  return new AppError('protocol-violation', `${field} ${what}`, cause === undefined ? {} : { cause });
}

type Text = string | null | undefined;

const SHOWN_CHARS = 80;

const quoted = (text: Text): string => JSON.stringify((text ?? '').slice(0, SHOWN_CHARS));

export function count(value: number | null | undefined, field: string): number {
  const given = value ?? 0;
  if (!Number.isSafeInteger(given) || given < 0) throw violation(field, `is ${given}, not a count`);
  return given;
}

export function filled(text: Text, field: string): string {
  if (!text) throw violation(field, 'is missing');
  return text;
}

export function required<T>(value: T | null | undefined, field: string): T {
  if (value === null || value === undefined) throw violation(field, 'is missing');
  return value;
}

export function oneOf<Word extends string>(text: Text, words: readonly Word[], field: string): Word {
  for (const word of words) if (word === text) return word;
  throw violation(field, `is ${quoted(text)}, not one of ${words.join(', ')}`);
}

export function allocationId(text: Text, field: string): AllocationId {
  if (parseAllocationId(text ?? '') === undefined) throw violation(field, `is ${quoted(text)}, not an allocation id`);
  return text as AllocationId;
}

export function taskId(text: Text, field: string): TaskId {
  if (parseTaskId(text ?? '') === undefined) throw violation(field, `is ${quoted(text)}, not a task id`);
  return text as TaskId;
}

const JOB_ID = /^j\d+$/;

export function jobId(text: Text, field: string): JobId {
  if (!JOB_ID.test(text ?? '')) throw violation(field, `is ${quoted(text)}, not a job id`);
  return text as JobId;
}

export function nodeId(text: Text, field: string): NodeId {
  if (!NAME.test(text ?? '')) throw violation(field, `is ${quoted(text)}, not a node name`);
  return text as NodeId;
}

/** Reads each element, naming it by its position when it is wrong. */
export function each<From, To>(
  list: readonly From[] | null | undefined,
  read: (element: From, field: string) => To,
  field: string,
): To[] {
  return (list ?? []).map((element, position) => read(element, `${field}[${position}]`));
}
