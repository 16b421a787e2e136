import { type Field, invalid } from '../../shared/job-spec/findings.js';
import type { JobSpec } from '../../shared/job-spec/spec.js';
import { didYouMean } from '../../shared/suggest.js';
import { shown } from '../../shared/units.js';
import type { Arrival } from './scenario.js';

/** A kind of job, as arrivals name it. */
export interface JobType {
  readonly runMs: number;
  readonly spec: JobSpec;
}

const MAX_ARRIVALS = 100_000;
const REQUIRED = ['id', 'type', 'submit_seconds'] as const;
/** `run_seconds` overrides what the type says. */
const COLUMNS = [...REQUIRED, 'run_seconds'] as const;
type Column = (typeof COLUMNS)[number];
const SECONDS = /^\d{1,9}(\.\d{1,3})?$/;

/** The lines of a CSV file with the header `id,type,submit_seconds`; what is wrong is reported at `field` by line. */
export function readArrivals(text: string, types: ReadonlyMap<string, JobType>, field: Field): readonly Arrival[] {
  const [header = '', ...lines] = text.split(/\r?\n/);
  const columns = header.split(',').map((name) => name.trim());
  if (!haveColumns(columns, field)) return [];
  const rows = lines.map((line, position) => ({ line, number: position + 2 })).filter(({ line }) => line.trim() !== '');
  if (rows.length > MAX_ARRIVALS) invalid(field, `has ${rows.length} arrivals; at most ${MAX_ARRIVALS} are allowed`);
  const seen = new Set<string>();
  const arrivals = rows.flatMap(({ line, number }) => {
    const row = rowOf(columns, line);
    const complaint = typeof row === 'string' ? row : complaintOf(row, types, seen);
    if (typeof row === 'string' || complaint !== undefined) {
      invalid(field, `line ${number}: ${complaint}`);
      return [];
    }
    seen.add(row.id);
    return arrivalOf(row, types);
  });
  return arrivals.sort((left, right) => left.submitMs - right.submitMs);
}

function haveColumns(columns: readonly string[], field: Field): boolean {
  const unknown = columns.filter((name) => !COLUMNS.some((column) => column === name));
  for (const name of unknown) invalid(field, `line 1: there is no column ${shown(name)}${didYouMean(name, COLUMNS)}`);
  const missing = REQUIRED.filter((name) => !columns.includes(name));
  if (missing.length > 0) invalid(field, `line 1: ${missing.join(', ')} missing; the header is ${REQUIRED.join(',')}`);
  return unknown.length + missing.length === 0;
}

type Row = Readonly<Record<Column, string>>;

function rowOf(columns: readonly string[], line: string): Row | string {
  const cells = line.split(',').map((cell) => cell.trim());
  if (cells.length !== columns.length) return `has ${cells.length} cells; the header has ${columns.length}`;
  return Object.fromEntries(COLUMNS.map((name) => [name, cells[columns.indexOf(name)] ?? ''])) as unknown as Row;
}

function complaintOf(row: Row, types: ReadonlyMap<string, JobType>, seen: ReadonlySet<string>): string | undefined {
  if (row.id === '') return 'has no id';
  if (seen.has(row.id)) return `${shown(row.id)} is the id of another arrival already`;
  if (!types.has(row.type)) return `there is no job ${shown(row.type)}${didYouMean(row.type, types.keys())}`;
  if (!SECONDS.test(row.submit_seconds)) return `${shown(row.submit_seconds)} is not a number of seconds`;
  if (row.run_seconds !== '' && !SECONDS.test(row.run_seconds))
    return `${shown(row.run_seconds)} is not a number of seconds`;
  return undefined;
}

function arrivalOf(row: Row, types: ReadonlyMap<string, JobType>): readonly Arrival[] {
  const type = types.get(row.type);
  if (type === undefined) return [];
  const runMs = row.run_seconds === '' ? type.runMs : Math.round(Number(row.run_seconds) * 1_000);
  const submitMs = Math.round(Number(row.submit_seconds) * 1_000);
  return [{ id: row.id, type: row.type, submitMs, runMs, spec: type.spec }];
}
