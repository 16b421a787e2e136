import type { Colors } from '../context.js';
import { displayWidth, padEnd, padStart, plainLine, truncate } from './text.js';

export interface Column<Row> {
  readonly title: string;
  text(row: Row): string;
  readonly align?: 'right';
  /** Shown with `-o wide` only. */
  readonly isWide?: true;
  paint?(text: string, row: Row, colors: Colors): string;
}

export interface TableScreen {
  readonly columns: number;
  readonly colors: Colors;
}

const GAP = '  ';
/** A last column is never squeezed below this; the line rather wraps. */
const NARROWEST_LAST = 10;

/** Aligned columns with a head line; only the last column is cut to the screen. Ends with a newline. */
export function renderTable<Row>(columns: readonly Column<Row>[], rows: readonly Row[], screen: TableScreen): string {
  const cells = rows.map((row) => columns.map((column) => plainLine(column.text(row)) || '-'));
  const widths = columns.map((column, at) =>
    Math.max(displayWidth(column.title), ...cells.map((row) => displayWidth(row[at] ?? ''))),
  );
  const last = columns.length - 1;
  const before = widths.slice(0, last).reduce((sum, width) => sum + width + GAP.length, 0);
  const lastColumns = Math.max(NARROWEST_LAST, screen.columns - before);
  const place = (text: string, at: number): string => {
    if (columns[at]?.align === 'right') return padStart(text, widths[at] ?? 0);
    return at === last ? truncate(text, lastColumns) : padEnd(text, widths[at] ?? 0);
  };
  const head = columns.map((column, at) => screen.colors.bold(place(column.title, at))).join(GAP);
  const lines = rows.map((row, line) =>
    columns
      .map((column, at) => {
        const placed = place(cells[line]?.[at] ?? '', at);
        return column.paint ? column.paint(placed, row, screen.colors) : placed;
      })
      .join(GAP)
      .trimEnd(),
  );
  return `${[head.trimEnd(), ...lines].join('\n')}\n`;
}

/** `name   value` lines, for one thing in detail. Entries without a value are left out. Ends with a newline. */
export function renderFields(fields: readonly (readonly [string, string | null])[], screen: TableScreen): string {
  const shown = fields.filter((field): field is readonly [string, string] => field[1] !== null && field[1] !== '');
  const width = Math.max(0, ...shown.map(([name]) => displayWidth(name)));
  return shown.map(([name, value]) => `${screen.colors.bold(padEnd(name, width))}${GAP}${plainLine(value)}\n`).join('');
}
