import Type, { type Static } from 'typebox';
import type { Refusal } from '../../shared/errors.js';
import { formatRanges, type IndexRange, type RangeSet, rangesCount } from '../../shared/ranges.js';
import type { Job, Step } from '../model/job.js';
import { isTarget } from '../model/mirror.js';
import { lookAtJob } from './look.js';
import { JOB_STATES } from './present-job.js';
import { routeSchema, routesOf } from './present-route.js';
import { instant, oneOf } from './schemas.js';
import type { Service } from './service.js';
import { Explanations, type WaitReason } from './waiting.js';

export const reasonSchema = Type.Object({
  code: Type.String({ description: 'Stable; what a program may branch on.' }),
  message: Type.String(),
  details: Type.Optional(Type.Record(Type.String(), Type.Unknown())),
});

export const whySchema = Type.Object({
  job: Type.String(),
  phase: oneOf(JOB_STATES),
  waiting: Type.Array(
    Type.Object({
      step: Type.String(),
      tasks: Type.String({ description: 'Indexes: 1-100,105. Ends with … when there are too many ranges to name.' }),
      count: Type.Integer({ minimum: 1 }),
      reason: reasonSchema,
    }),
    { description: 'Empty when nothing waits.' },
  ),
  routes: Type.Array(routeSchema, { description: 'Of steps with several targets: where they go, and why.' }),
});
export type WhyView = Static<typeof whySchema>;

const MAX_RANGES_NAMED = 100;

/** For each step the tasks that wait and the reason, so that nothing waits silently (P7). Cost: O(tasks once placed). */
export function explainJob(service: Service, jobId: string): Promise<WhyView | Refusal> {
  return lookAtJob(service, jobId, (view, job) => {
    const explanations = new Explanations(view, service);
    const waiting = [...job.steps.values()].flatMap((step) => waitingOf(job, step, explanations));
    return { job: job.id, phase: job.phase.kind, waiting, routes: routesOf(job) };
  });
}

function waitingOf(job: Job, step: Step, explanations: Explanations): WhyView['waiting'] {
  const remote = remotelyWaiting(step, explanations);
  const reason = explanations.reasonOf(job, step);
  if (!reason) return remote;
  const { free, backingOff, next } = waitingTasks(step, explanations.now);
  const rows: WhyView['waiting'] = [];
  if (free.length > 0) rows.push(row(step, free, reason));
  if (next !== undefined) {
    const notBefore = instant(next.notBefore);
    const message = `waits after ${explanations.setbackOf(job, step, next.index)}, at least until ${notBefore}`;
    rows.push(row(step, backingOff, { code: 'backoff', message, details: { notBefore } }));
  }
  return [...rows, ...remote];
}

/** Tasks that have their place at a remote batch system and wait there, or of which nothing is heard, by what is said of them. */
function remotelyWaiting(step: Step, explanations: Explanations): WhyView['waiting'] {
  if (!step.spec.targets?.some(isTarget)) return [];
  const byMessage = new Map<string, IndexRange[]>();
  for (const { index, phase } of step.tasks.values()) {
    const remote = phase.kind === 'placed' ? explanations.remoteOf(phase.allocationId) : undefined;
    if (!remote?.isWaiting && !remote?.isUnseen) continue;
    const ranges = byMessage.get(remote.message);
    if (ranges) ranges.push({ from: index, to: index });
    else byMessage.set(remote.message, [{ from: index, to: index }]);
  }
  return [...byMessage].map(([message, ranges]) => row(step, merged(ranges), { code: 'remote', message }));
}

function row(step: Step, tasks: RangeSet, reason: WaitReason): WhyView['waiting'][number] {
  const named = formatRanges(tasks.slice(0, MAX_RANGES_NAMED));
  return {
    step: step.name,
    tasks: tasks.length > MAX_RANGES_NAMED ? `${named},…` : named,
    count: rangesCount(tasks),
    reason,
  };
}

interface WaitingTasks {
  readonly free: RangeSet;
  readonly backingOff: RangeSet;
  /** The first of those that back off which may go. */
  readonly next: { readonly index: number; readonly notBefore: number } | undefined;
}

function waitingTasks(step: Step, now: number): WaitingTasks {
  const free: IndexRange[] = step.swept ? [] : [...step.untouched];
  const backingOff: IndexRange[] = [];
  let next: WaitingTasks['next'];
  for (const { index, phase } of step.tasks.values()) {
    if (phase.kind !== 'queued') continue;
    if (phase.notBefore <= now) {
      free.push({ from: index, to: index });
    } else {
      backingOff.push({ from: index, to: index });
      if (next === undefined || phase.notBefore < next.notBefore) next = { index, notBefore: phase.notBefore };
    }
  }
  return { free: merged(free), backingOff: merged(backingOff), next };
}

function merged(ranges: IndexRange[]): RangeSet {
  ranges.sort((left, right) => left.from - right.from);
  const found: IndexRange[] = [];
  for (const range of ranges) {
    const last = found.at(-1);
    if (last && range.from === last.to + 1) found[found.length - 1] = { from: last.from, to: range.to };
    else found.push(range);
  }
  return found;
}
