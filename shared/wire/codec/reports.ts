import { assertNever } from '../../assert.js';
import type { AllocationEnd, StopReason } from '../../outcome.js';
import { USAGE_FIELDS, usageOf } from '../../usage.js';
import type { Held, HeldPhase, Report, ReportedEnd } from '../messages.js';
import { whole } from './amounts.js';
import * as field from './fields.js';
import { type WireEnd, type WireHeld, type WirePhase, type WireReport, wire } from './generated.js';
import { recordFromWire, recordToWire } from './staging.js';

export function heldToWire(held: Held): WireHeld {
  return {
    ...reportToWire(held),
    // 0 on the wire says that the command never started; what started this very moment did so 1 ms ago.
    startedAgeMs: held.startedAgeMs === undefined ? 0 : Math.max(1, whole(held.startedAgeMs)),
  };
}

export function heldFromWire(held: WireHeld, where: string): Held {
  const startedAgeMs = field.count(held.startedAgeMs, `${where}.startedAgeMs`);
  return { ...reportFromWire(held, where), ...(startedAgeMs === 0 ? {} : { startedAgeMs }) };
}

export function reportToWire(report: Report): WireReport {
  return {
    allocationId: report.allocationId,
    phase: PHASE_TO_WIRE[report.phase],
    ageMs: whole(report.ageMs),
    ...(report.end === undefined ? {} : { end: endToWire(report.end) }),
  };
}

export function reportFromWire(report: WireReport, where: string): Report {
  const phase = PHASE_FROM_WIRE.get(report.phase ?? 0);
  if (phase === undefined) throw field.violation(`${where}.phase`, `is ${report.phase ?? 0}, which is no phase`);
  return {
    allocationId: field.allocationId(report.allocationId, `${where}.allocationId`),
    phase,
    ageMs: field.count(report.ageMs, `${where}.ageMs`),
    ...(phase === 'ended' ? { end: endFromWire(field.required(report.end, `${where}.end`), `${where}.end`) } : {}),
  };
}

function endToWire(reported: ReportedEnd): WireEnd {
  return { ...howToWire(reported), ...recordToWire(reported.staging) };
}

function howToWire({ end, stdoutBytes, stderrBytes, usage, image }: ReportedEnd): WireEnd {
  const used = { ...(usage === undefined ? {} : { usage }), ...(image === undefined ? {} : { image }) };
  const sizes = { stdoutBytes: whole(stdoutBytes), stderrBytes: whole(stderrBytes), ...used };
  const ran = 'ranMs' in end ? { ranMs: whole(end.ranMs) } : {};
  const exit = 'exitCode' in end ? { exitCode: end.exitCode, hasExitCode: true } : {};
  const { kind } = end;
  switch (kind) {
    case 'exited':
      return { kind, ...exit, ...ran, ...sizes };
    case 'signaled':
      return { kind, signal: end.signal, ...(end.oom ? { oom: true } : {}), ...ran, ...sizes };
    case 'stopped':
      return { kind, reason: end.reason, ...exit, ...ran, ...sizes };
    case 'start-failed':
    case 'rejected':
    case 'lost':
      return { kind, message: end.message, ...sizes };
    case 'outputs-failed':
      return { kind, message: end.message, ...ran, ...sizes };
    default:
      return assertNever(kind, 'allocation end');
  }
}

function endFromWire(end: WireEnd, where: string): ReportedEnd {
  return {
    end: allocationEndFromWire(end, where),
    stdoutBytes: field.count(end.stdoutBytes, `${where}.stdoutBytes`),
    stderrBytes: field.count(end.stderrBytes, `${where}.stderrBytes`),
    ...recordFromWire(end, where),
    ...usageFromWire(end.usage, `${where}.usage`),
    ...(end.image ? { image: end.image } : {}),
  };
}

function usageFromWire(used: WireEnd['usage'], where: string): Pick<ReportedEnd, 'usage'> {
  const amounts = USAGE_FIELDS.map((name) => [name, field.count(used?.[name], `${where}.${name}`)]);
  const usage = usageOf(Object.fromEntries(amounts));
  return usage === undefined ? {} : { usage };
}

const END_KINDS = ['exited', 'signaled', 'start-failed', 'rejected', 'stopped', 'outputs-failed', 'lost'] as const;
export const STOP_REASONS: readonly StopReason[] = [
  'canceled',
  'time-limit',
  'disk',
  'drained',
  'preempted',
  'gang',
  'stale',
];

function allocationEndFromWire(end: WireEnd, where: string): AllocationEnd {
  const kind = field.oneOf(end.kind, END_KINDS, `${where}.kind`);
  const ranMs = field.count(end.ranMs, `${where}.ranMs`);
  const exitCode = field.count(end.exitCode, `${where}.exitCode`);
  switch (kind) {
    case 'exited':
      return { kind, exitCode, ranMs };
    case 'signaled':
      return { kind, signal: field.filled(end.signal, `${where}.signal`), ranMs, ...(end.oom ? { oom: true } : {}) };
    case 'stopped': {
      const reason = field.oneOf(end.reason, STOP_REASONS, `${where}.reason`);
      return { kind, reason, ranMs, ...(end.hasExitCode ? { exitCode } : {}) };
    }
    case 'start-failed':
    case 'rejected':
    case 'lost':
      return { kind, message: end.message ?? '' };
    case 'outputs-failed':
      return { kind, message: end.message ?? '', ranMs };
    default:
      return assertNever(kind, 'allocation end');
  }
}

const PHASE_TO_WIRE: Readonly<Record<HeldPhase, WirePhase>> = {
  preparing: wire.Phase.PREPARING,
  running: wire.Phase.RUNNING,
  stopping: wire.Phase.STOPPING,
  ended: wire.Phase.ENDED,
};

const PHASE_FROM_WIRE: ReadonlyMap<number, HeldPhase> = new Map([
  [wire.Phase.PREPARING, 'preparing'],
  [wire.Phase.RUNNING, 'running'],
  [wire.Phase.STOPPING, 'stopping'],
  [wire.Phase.ENDED, 'ended'],
]);
