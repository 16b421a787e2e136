import Type, { type Static } from 'typebox';
import { assertNever } from '../../shared/assert.js';
import type { EpochMs } from '../../shared/clock.js';
import { allocationIdOf, taskIdOf } from '../../shared/ids.js';
import { type AllocationEnd, exitCodeOf, type StopReason, type TaskOutcome } from '../../shared/outcome.js';
import { USAGE_FIELDS, type UsageField } from '../../shared/usage.js';
import type { Allocation } from '../model/allocation.js';
import { taskPhase } from '../model/state.js';
import type { TaskPhase } from '../model/task.js';
import { preparationSchema, preparationText } from './preparations.js';
import { instant, instantOrNull, nullable, oneOf, time } from './schemas.js';
import type { AttemptSource, TaskPlace } from './task-place.js';
import type { Explanations } from './waiting.js';

const stopReason = oneOf(['canceled', 'time-limit', 'disk', 'drained', 'preempted', 'gang', 'stale', 'remote']);

export const endSchema = Type.Union(
  [
    Type.Object({ kind: Type.Literal('exited'), exitCode: Type.Integer(), ranMs: Type.Number() }),
    Type.Object({
      kind: Type.Literal('signaled'),
      signal: Type.String(),
      ranMs: Type.Number(),
      oom: Type.Optional(Type.Literal(true, { description: 'It reached its memory limit.' })),
    }),
    Type.Object({ kind: Type.Literal('start-failed'), message: Type.String() }),
    Type.Object({ kind: Type.Literal('rejected'), message: Type.String() }),
    Type.Object({
      kind: Type.Literal('stopped'),
      reason: stopReason,
      exitCode: Type.Optional(Type.Integer()),
      ranMs: Type.Number(),
    }),
    Type.Object({ kind: Type.Literal('outputs-failed'), message: Type.String(), ranMs: Type.Number() }),
    Type.Object({ kind: Type.Literal('lost'), message: Type.String() }),
  ],
  { description: 'How an attempt ended.' },
);

export const taskOutcomeSchema = Type.Union([
  Type.Object({ kind: Type.Literal('succeeded') }),
  Type.Object({ kind: Type.Literal('failed'), end: endSchema }),
  Type.Object({ kind: Type.Literal('canceled'), reason: Type.String() }),
  Type.Object({ kind: Type.Literal('dropped'), reason: Type.String() }),
]);

const remoteSchema = Type.Object(
  { isWaiting: Type.Boolean({ description: 'It has not begun there.' }), message: Type.String() },
  { description: 'Where it stands at the remote batch system that is its target; absent for others.' },
);

const mirrorSchema = Type.Object({
  tag: Type.String({ description: 'Its name at the remote system.' }),
  remoteId: nullable(Type.String(), 'As the remote system calls the job; null before it has said so.'),
  nodes: Type.String({ description: "The site's nodes, as it writes them; empty before it has any." }),
  requeueCount: Type.Integer({ minimum: 0, description: 'How often the site has put it back into its queue.' }),
});

const amount = Type.Optional(Type.Integer({ minimum: 1 }));

const usageSchema = Type.Object(
  Object.fromEntries(USAGE_FIELDS.map((field) => [field, amount])) as Record<UsageField, typeof amount>,
  { description: 'What it used, and how long all but the command took; what is none or not known is absent.' },
);

export const attemptSchema = Type.Object({
  attempt: Type.Integer({ minimum: 1 }),
  allocationId: Type.String(),
  node: Type.String(),
  state: oneOf(['committed', 'preparing', 'running', 'stopping', 'ended']),
  end: nullable(endSchema),
  gpus: Type.Array(Type.Integer(), { description: "Indexes of the node's GPUs that the attempt holds, or shares." }),
  queuedMs: Type.Number({ description: 'How long it waited for a node since it could start.' }),
  committedAt: time('When it was given its node.'),
  startedAt: nullable(time('When its command started.')),
  endedAt: nullable(time('When its end was recorded.')),
  ranMs: nullable(Type.Number(), "How long its command ran, by the node's clock."),
  output: nullable(
    Type.Object({ stdoutBytes: Type.Integer(), stderrBytes: Type.Integer() }),
    'What it wrote in all; null before its end, or when nobody knows.',
  ),
  usage: nullable(usageSchema),
  image: nullable(Type.String(), 'What exactly its image was: the digest in its registry, or the id on the node.'),
  outputCount: Type.Integer({ minimum: 0, description: 'Files that it left.' }),
  inputs: Type.Array(Type.Object({ path: Type.String(), sha256: Type.String(), sizeBytes: Type.Integer() }), {
    description: 'Inputs whose digest the specification does not say.',
  }),
  mirror: Type.Optional(mirrorSchema),
  note: nullable(Type.String(), 'Which of its files could not be kept, and why.'),
});
export type AttemptView = Static<typeof attemptSchema>;

export const taskSchema = Type.Object({
  id: Type.String({ description: 'For example j42.7, or j42.train.7.' }),
  jobId: Type.String(),
  step: Type.String(),
  index: Type.Integer({ minimum: 0 }),
  state: oneOf(['blocked', 'queued', 'placed', 'done']),
  outcome: nullable(taskOutcomeSchema),
  exitCode: nullable(
    Type.Integer(),
    'As a shell has it: 128 + n for signal n, 125 when Berth failed, 130 when canceled.',
  ),
  attempt: Type.Integer({ minimum: 0, description: 'The attempt that runs, ran last, or is waited for.' }),
  node: nullable(Type.String()),
  reason: nullable(Type.String(), 'Why it waits, or why it did not succeed.'),
  notBefore: nullable(time('When its next attempt may start.')),
  preparation: Type.Optional(preparationSchema),
  remote: Type.Optional(remoteSchema),
  attempts: Type.Optional(Type.Array(attemptSchema, { description: 'Only when the task was asked for by itself.' })),
});
export type TaskView = Static<typeof taskSchema>;

/** The task, or undefined when the step has no such index. */
export function presentTask(
  attempts: AttemptSource,
  place: TaskPlace,
  explanations: Explanations,
): TaskView | undefined {
  const { job, step, index } = place;
  const phase = taskPhase(step, index);
  if (!phase) return undefined;
  const ref = { jobId: job.id, step: step.name, index };
  const attempt = attemptOf(phase);
  const allocationId = allocationIdOf({ ...ref, attempt });
  const preparation = phase.kind === 'placed' ? explanations.preparations.of(allocationId) : undefined;
  const remote = phase.kind === 'placed' ? explanations.remoteOf(allocationId) : undefined;
  return {
    id: taskIdOf(ref),
    jobId: job.id,
    step: step.name,
    index,
    state: phase.kind,
    outcome: phase.kind === 'done' ? phase.outcome : null,
    exitCode: phase.kind === 'done' ? exitCodeOf(phase.outcome) : null,
    attempt,
    node: attempts.get(allocationId)?.nodeId ?? null,
    reason: preparation ? preparationText(preparation) : (remote?.message ?? reasonOf(place, phase, explanations)),
    notBefore: phase.kind === 'queued' && phase.notBefore > explanations.now ? instant(phase.notBefore) : null,
    ...(preparation ? { preparation } : {}),
    ...(remote ? { remote } : {}),
  };
}

/** Every attempt of a task, the first one first. */
export function presentAttempts(attempts: AttemptSource, place: TaskPlace): AttemptView[] {
  const phase = taskPhase(place.step, place.index);
  const ref = { jobId: place.job.id, step: place.step.name, index: place.index };
  const found: AttemptView[] = [];
  let eligibleAt = place.step.queuedAt;
  for (let attempt = 1; phase && attempt <= attemptOf(phase); attempt += 1) {
    const allocation = attempts.get(allocationIdOf({ ...ref, attempt }));
    if (allocation) found.push(presentAttempt(allocation, eligibleAt));
    if (allocation?.phase.kind === 'ended') eligibleAt = allocation.phase.at;
  }
  return found;
}

/** The attempt that runs or ran last, or the one that is waited for; 0 when there will be none. */
export function attemptOf(phase: TaskPhase): number {
  return phase.kind === 'blocked' ? 1 : phase.attempt;
}

function presentAttempt(allocation: Allocation, eligibleAt: EpochMs): AttemptView {
  const { phase } = allocation;
  const ended = phase.kind === 'ended' ? phase : undefined;
  return {
    attempt: allocation.ref.attempt,
    allocationId: allocation.id,
    node: allocation.nodeId,
    state: phase.kind,
    end: ended ? ended.end : null,
    gpus: [...allocation.gpus],
    queuedMs: Math.max(0, allocation.committedAt - eligibleAt),
    committedAt: instant(allocation.committedAt),
    startedAt: instantOrNull(allocation.startedAt),
    endedAt: instantOrNull(ended?.at),
    ranMs: ended && 'ranMs' in ended.end ? ended.end.ranMs : null,
    output: ended?.output ?? null,
    usage: ended?.usage ?? null,
    image: ended?.image ?? null,
    outputCount: ended?.staging?.outputs.length ?? 0,
    inputs: [...(ended?.staging?.inputs ?? [])],
    ...(allocation.mirror ? { mirror: { ...allocation.mirror } } : {}),
    note: ended?.staging?.note ?? null,
  };
}

function reasonOf({ job, step, index }: TaskPlace, phase: TaskPhase, explanations: Explanations): string | null {
  switch (phase.kind) {
    case 'queued':
      if (phase.notBefore > explanations.now) {
        const after = explanations.setbackOf(job, step, index);
        return `attempt ${phase.attempt} starts at ${instant(phase.notBefore)} at the earliest, after ${after}`;
      }
      return explanations.reasonOf(job, step)?.message ?? null;
    case 'blocked':
      return explanations.reasonOf(job, step)?.message ?? null;
    case 'placed':
      return null;
    case 'done':
      return reasonOfOutcome(phase.outcome);
    default:
      return assertNever(phase, 'task phase');
  }
}

function reasonOfOutcome(outcome: TaskOutcome): string | null {
  switch (outcome.kind) {
    case 'succeeded':
      return null;
    case 'failed':
      return describeEnd(outcome.end);
    case 'canceled':
    case 'dropped':
      return outcome.reason;
    default:
      return assertNever(outcome, 'task outcome');
  }
}

function describeEnd(end: AllocationEnd): string {
  switch (end.kind) {
    case 'exited':
      return `exited with code ${end.exitCode}`;
    case 'signaled':
      return end.oom ? 'was killed at its memory limit' : `was ended by ${end.signal}`;
    case 'start-failed':
      return `could not be started: ${end.message}`;
    case 'rejected':
      return `was rejected by its node: ${end.message}`;
    case 'outputs-failed':
      return `succeeded, but ${end.message}`;
    case 'stopped':
      return describeStop(end.reason);
    case 'lost':
      return `was lost: ${end.message}`;
    default:
      return assertNever(end, 'allocation end');
  }
}

function describeStop(reason: StopReason): string {
  if (reason === 'time-limit') return 'reached its time limit';
  if (reason === 'remote') return 'was canceled at the remote system';
  return reason === 'disk' ? 'had more on disk than it asked for' : `was stopped: ${reason}`;
}
