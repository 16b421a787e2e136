import type { Colors, Context } from '../context.js';
import { type Column, renderTable, type TableScreen } from './table.js';

export const FORMATS = ['table', 'wide', 'json', 'jsonl', 'name'] as const;
export type Format = (typeof FORMATS)[number];

export interface Listing<Row> {
  /** The API's own document, for `-o json`. */
  readonly document: unknown;
  readonly rows: readonly Row[];
  readonly columns: readonly Column<Row>[];
  name(row: Row): string;
}

export function printListing<Row>(context: Context, format: Format, listing: Listing<Row>): void {
  context.out.write(renderListing(format, listing, tableScreen(context)));
}

export interface One {
  readonly document: unknown;
  readonly name: string;
  describe(): string;
}

/** One thing: its document or its name by format, else what `describe` makes of it. */
export function printOne(context: Context, format: Format, one: One): void {
  context.out.write(renderOne(format, one));
}

export function isTabular(format: Format): boolean {
  return format === 'table' || format === 'wide';
}

export function tableScreen(context: Context): { readonly columns: number; readonly colors: Colors } {
  return { columns: context.out.columns(), colors: context.out.colors };
}

function renderListing<Row>(format: Format, listing: Listing<Row>, screen: TableScreen): string {
  switch (format) {
    case 'json':
      return `${JSON.stringify(listing.document, null, 2)}\n`;
    case 'jsonl':
      return listing.rows.map((row) => `${JSON.stringify(row)}\n`).join('');
    case 'name':
      return listing.rows.map((row) => `${listing.name(row)}\n`).join('');
    default: {
      const columns = listing.columns.filter((column) => format === 'wide' || !column.isWide);
      return renderTable(columns, listing.rows, screen);
    }
  }
}

function renderOne(format: Format, one: One): string {
  switch (format) {
    case 'json':
      return `${JSON.stringify(one.document, null, 2)}\n`;
    case 'jsonl':
      return `${JSON.stringify(one.document)}\n`;
    case 'name':
      return `${one.name}\n`;
    default:
      return one.describe();
  }
}
