import { type Command, Option } from 'commander';
import { AppError } from '../../shared/errors.js';
import { parseDuration } from '../../shared/units.js';
import type { Context } from './context.js';
import { FORMATS, type Format } from './format/listing.js';

/** What a command is registered with. */
export interface Host {
  readonly program: Command;
  readonly context: Context;
  /** The words after `--`, for the commands that run other commands; undefined when there was no `--`. */
  readonly trailing: readonly string[] | undefined;
  /** Keeps the exit code of the command that ran. */
  exit(code: number): void;
}

export interface FormatFlags {
  readonly output: Format;
}

export function formatOption(): Option {
  return new Option('-o, --output <format>', 'how to print the answer').choices(FORMATS).default('table');
}

export function examples(...lines: readonly string[]): string {
  return `\nExamples:\n${lines.map((line) => `  $ ${line}`).join('\n')}\n`;
}

/** Throws `invalid-request` that names the flag. */
export function durationFlag(flag: string, text: string): number {
  const durationMs = parseDuration(text);
  if (typeof durationMs === 'string') throw new AppError('invalid-request', `${flag}: ${durationMs}`);
  return durationMs;
}

export function optionalDurationFlag(flag: string, text: string | undefined): number | null {
  return text === undefined ? null : durationFlag(flag, text);
}

/** Throws `invalid-request` that names the flag. */
export function countFlag(flag: string, text: string): number {
  if (/^\d{1,15}$/.test(text)) return Number(text);
  throw new AppError('invalid-request', `${flag}: "${text}" is not a whole number`);
}

/** Throws `invalid-request` when a flag that must be given is not. */
export function requiredFlag(flag: string, value: string | undefined, remedy: string): string {
  if (value !== undefined && value.trim() !== '') return value;
  throw new AppError('invalid-request', `${flag} is required`, { hint: remedy });
}
