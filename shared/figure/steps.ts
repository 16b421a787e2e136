/** Something that is in one state for a while. */
export interface Span<State extends string> {
  readonly state: State;
  readonly fromMs: number;
  readonly untilMs: number;
}

/** So many from this moment on, until the next. */
export interface StepPoint {
  readonly atMs: number;
  readonly count: number;
}

/** How many spans are in the state at each moment, ascending. Cost: O(spans log spans). */
export function countOverTime<State extends string>(spans: readonly Span<State>[], state: State): readonly StepPoint[] {
  const changes = new Map<number, number>();
  const add = (atMs: number, change: number): void => void changes.set(atMs, (changes.get(atMs) ?? 0) + change);
  for (const span of spans) {
    if (span.state !== state || span.untilMs <= span.fromMs) continue;
    add(span.fromMs, 1);
    add(span.untilMs, -1);
  }
  let count = 0;
  const points: StepPoint[] = [];
  for (const [atMs, change] of [...changes].sort(([left], [right]) => left - right)) {
    if (change === 0) continue;
    count += change;
    points.push({ atMs, count });
  }
  return points;
}
