import { drawFigure, type StackLayer } from './stack-figure.js';
import { countOverTime, type Span } from './steps.js';

/** What a job does; what is done is not drawn. */
export type JobState = 'waiting' | 'running';

/** What a machine does. */
export type MachineState = 'busy' | 'idle' | 'booting' | 'resuming' | 'switching off' | 'suspended';

const JOB_COLORS: Readonly<Record<JobState, string>> = { running: '#2f6db3', waiting: '#e08b2c' };
const MACHINE_COLORS: Readonly<Record<MachineState, string>> = {
  busy: '#2f6db3',
  idle: '#8fb8de',
  booting: '#e08b2c',
  resuming: '#f2c078',
  'switching off': '#b0554a',
  suspended: '#d9dce3',
};

interface ClusterHistory {
  readonly jobs: readonly Span<JobState>[];
  readonly machines: readonly Span<MachineState>[];
  readonly fromMs: number;
  readonly untilMs: number;
}

/** The jobs and the machines of a cluster by state over time, as one SVG document. */
export function drawCluster({ jobs, machines, fromMs, untilMs }: ClusterHistory): string {
  const charts = [
    { title: 'Jobs by state', yLabel: 'jobs', layers: layersOf(jobs, JOB_COLORS) },
    { title: 'Nodes by state', yLabel: 'nodes', layers: layersOf(machines, MACHINE_COLORS) },
  ];
  return drawFigure(charts, { fromMs, untilMs, xLabel: 'time since the beginning (hours:minutes)' });
}

function layersOf<State extends string>(
  spans: readonly Span<State>[],
  colors: Readonly<Record<State, string>>,
): readonly StackLayer[] {
  return (Object.keys(colors) as State[]).map((state) => {
    return { name: state, color: colors[state], points: countOverTime(spans, state) };
  });
}
