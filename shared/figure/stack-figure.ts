import { formatDuration } from '../units.js';
import type { StepPoint } from './steps.js';

/** Counts over time, stacked: how many are in which state. */
export interface StackChart {
  readonly title: string;
  readonly yLabel: string;
  /** From the bottom to the top. */
  readonly layers: readonly StackLayer[];
}

export interface StackLayer {
  readonly name: string;
  readonly color: string;
  readonly points: readonly StepPoint[];
}

interface FigureSpan {
  readonly fromMs: number;
  readonly untilMs: number;
  readonly xLabel: string;
}

const WIDTH = 960;
const PLOT = { left: 64, right: 24, top: 64, bottom: 48, height: 260 } as const;
const CHART_HEIGHT = PLOT.top + PLOT.height + PLOT.bottom;
const PLOT_WIDTH = WIDTH - PLOT.left - PLOT.right;
const INK = '#1f2430';
const FAINT = '#d9dce3';
const MAX_TICKS = 10;
const MINUTE_MS = 60_000;
const TIME_STEPS_MS = [1, 2, 5, 10, 15, 30, 60, 120, 240, 720, 1440, 2880, 10080].map((m) => m * MINUTE_MS);
const LEGEND = { swatch: 12, gap: 20, letter: 7 } as const;

/** One SVG document with the charts below each other, over the same time. */
export function drawFigure(charts: readonly StackChart[], span: FigureSpan): string {
  const height = CHART_HEIGHT * charts.length;
  const drawn = charts.map((chart, position) => {
    return `<g transform="translate(0 ${position * CHART_HEIGHT})">${drawChart(chart, span)}</g>`;
  });
  const opening = `<svg xmlns="http://www.w3.org/2000/svg" width="${WIDTH}" height="${height}" viewBox="0 0 ${WIDTH} ${height}" font-family="Helvetica, Arial, sans-serif" font-size="12" fill="${INK}">`;
  return `${opening}\n<rect width="100%" height="100%" fill="#ffffff"/>\n${drawn.join('\n')}\n</svg>\n`;
}

function drawChart(chart: StackChart, span: FigureSpan): string {
  const moments = momentsOf(chart, span);
  const heights = stackedAt(chart, moments);
  const most = Math.max(1, ...(heights.at(-1) ?? []));
  const yOf = (count: number): number => round(PLOT.top + PLOT.height * (1 - count / most));
  const xOf = (atMs: number): number =>
    round(PLOT.left + (PLOT_WIDTH * (atMs - span.fromMs)) / Math.max(1, span.untilMs - span.fromMs));
  const areas = chart.layers.map(({ name, color }, position) => {
    const upper = heights[position + 1] ?? [];
    const lower = heights[position] ?? [];
    const path = areaPath({ moments, upper, lower, xOf, yOf, endMs: span.untilMs });
    return `<path d="${path}" fill="${color}"><title>${escaped(name)}</title></path>`;
  });
  return [
    `<text x="${PLOT.left}" y="24" font-size="15" font-weight="bold">${escaped(chart.title)}</text>`,
    drawLegend(chart.layers),
    drawGrid(most, yOf),
    ...areas,
    drawTimes(span, xOf),
    `<text transform="translate(18 ${PLOT.top + PLOT.height / 2}) rotate(-90)" text-anchor="middle">${escaped(chart.yLabel)}</text>`,
  ].join('\n');
}

/** Every moment within the span at which a layer changes, and its beginning. */
function momentsOf({ layers }: StackChart, { fromMs, untilMs }: FigureSpan): readonly number[] {
  const moments = new Set([fromMs]);
  for (const { points } of layers)
    for (const { atMs } of points) if (atMs > fromMs && atMs < untilMs) moments.add(atMs);
  return [...moments].sort((left, right) => left - right);
}

/** For each boundary between layers, from the ground up, its height at each moment. */
function stackedAt({ layers }: StackChart, moments: readonly number[]): readonly (readonly number[])[] {
  const boundaries: number[][] = [moments.map(() => 0)];
  for (const { points } of layers) {
    const below = boundaries.at(-1) ?? [];
    let next = 0;
    let count = 0;
    boundaries.push(
      moments.map((atMs, position) => {
        for (let point = points[next]; point && point.atMs <= atMs; point = points[next]) {
          count = point.count;
          next += 1;
        }
        return (below[position] ?? 0) + count;
      }),
    );
  }
  return boundaries;
}

interface Area {
  readonly moments: readonly number[];
  readonly upper: readonly number[];
  readonly lower: readonly number[];
  readonly endMs: number;
  readonly xOf: (atMs: number) => number;
  readonly yOf: (count: number) => number;
}

/** Along the top in steps, and back along the bottom. */
function areaPath({ moments, upper, lower, endMs, xOf, yOf }: Area): string {
  const along = (counts: readonly number[]): string[] =>
    moments.flatMap((atMs, position) => {
      const y = yOf(counts[position] ?? 0);
      return [`${xOf(atMs)} ${y}`, `${xOf(moments[position + 1] ?? endMs)} ${y}`];
    });
  return `M${along(upper).join('L')}L${along(lower).reverse().join('L')}Z`;
}

function drawLegend(layers: readonly StackLayer[]): string {
  let x = PLOT.left;
  const entries = layers.map(({ name, color }) => {
    const left = x;
    x += LEGEND.swatch + 6 + name.length * LEGEND.letter + LEGEND.gap;
    return `<rect x="${left}" y="38" width="${LEGEND.swatch}" height="${LEGEND.swatch}" fill="${color}"/><text x="${left + LEGEND.swatch + 6}" y="48">${escaped(name)}</text>`;
  });
  return entries.join('');
}

function drawGrid(most: number, yOf: (count: number) => number): string {
  const step = Math.max(1, Math.ceil(most / MAX_TICKS));
  const lines: string[] = [];
  for (let count = 0; count <= most; count += step) {
    const y = yOf(count);
    lines.push(
      `<line x1="${PLOT.left}" x2="${WIDTH - PLOT.right}" y1="${y}" y2="${y}" stroke="${FAINT}"/><text x="${PLOT.left - 8}" y="${y + 4}" text-anchor="end">${count}</text>`,
    );
  }
  return lines.join('');
}

function drawTimes({ fromMs, untilMs, xLabel }: FigureSpan, xOf: (atMs: number) => number): string {
  const lengthMs = untilMs - fromMs;
  const longest = Math.ceil(lengthMs / MAX_TICKS);
  const stepMs = TIME_STEPS_MS.find((step) => step >= longest) ?? longest;
  const bottom = PLOT.top + PLOT.height;
  const ticks: string[] = [];
  for (let atMs = fromMs; atMs <= untilMs; atMs += stepMs) {
    const x = xOf(atMs);
    ticks.push(
      `<line x1="${x}" x2="${x}" y1="${bottom}" y2="${bottom + 5}" stroke="${INK}"/><text x="${x}" y="${bottom + 20}" text-anchor="middle">${clockText(atMs - fromMs)}</text>`,
    );
  }
  const axis = `<line x1="${PLOT.left}" x2="${WIDTH - PLOT.right}" y1="${bottom}" y2="${bottom}" stroke="${INK}"/>`;
  const label = `<text x="${PLOT.left + PLOT_WIDTH / 2}" y="${bottom + 40}" text-anchor="middle">${escaped(xLabel)}</text>`;
  return `${axis}${ticks.join('')}${label}`;
}

/** `1:30` for an hour and a half; days by name. */
function clockText(offsetMs: number): string {
  const minutes = Math.round(offsetMs / MINUTE_MS);
  if (offsetMs >= 3 * 24 * 60 * MINUTE_MS) return formatDuration(offsetMs);
  return `${Math.floor(minutes / 60)}:${String(minutes % 60).padStart(2, '0')}`;
}

function round(value: number): number {
  return Math.round(value * 10) / 10;
}

function escaped(text: string): string {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;');
}
