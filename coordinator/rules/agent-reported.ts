import { present } from '../../shared/assert.js';
import type { EpochMs } from '../../shared/clock.js';
import type { NodeId } from '../../shared/ids.js';
import type { HeldPhase, ReportedEnd } from '../../shared/wire/messages.js';
import type { Decision } from '../engine/inputs.js';
import type { Allocation } from '../model/allocation.js';
import type { BerthEvent } from '../model/events.js';
import type { Rule } from './rule.js';

/** What an agent says of one allocation, in a report or in its hello. */
export interface Statement {
  readonly phase: HeldPhase;
  readonly end?: ReportedEnd;
  /** When the command started, on the coordinator's clock; only for a running one. */
  readonly startedAt: EpochMs;
}

const NOTHING: Decision = { events: [] };

/**
 * One report of one allocation. A stale attempt's word changes nothing: its id is not live, and it is told to stop (P3).
 */
export const agentReported: Rule<'agentReported'> = (view, { nodeId, report }, { now }) => {
  const allocation = view.allocations.get(report.allocationId);
  if (!allocation || allocation.nodeId !== nodeId || allocation.phase.kind === 'ended') {
    return report.phase === 'ended' ? NOTHING : stopUnknown(nodeId, report.allocationId);
  }
  const { phase, end, ageMs } = report;
  return { events: consequencesOf(allocation, { phase, startedAt: now - ageMs, ...(end ? { end } : {}) }) };
};

function stopUnknown(nodeId: NodeId, allocationId: Allocation['id']): Decision {
  return { events: [], effects: [{ kind: 'stop', nodeId, allocationId }] };
}

/** The events by which the view catches up with what the agent says of a live allocation; none when it already has. */
export function consequencesOf(allocation: Allocation, { phase, end, startedAt }: Statement): BerthEvent[] {
  const allocationId = allocation.id;
  const seen = allocation.phase.kind;
  switch (phase) {
    case 'preparing':
      return seen === 'committed' ? [{ type: 'allocation.preparing', allocationId }] : [];
    case 'running':
      return seen === 'committed' || seen === 'preparing'
        ? [{ type: 'allocation.started', allocationId, startedAt }]
        : [];
    case 'stopping':
      return [];
    case 'ended': {
      const { end: how, stdoutBytes, stderrBytes, ...rest } = present(end, 'end of an ended allocation');
      const { usage, image, staging } = rest;
      const details = {
        ...(usage === undefined ? {} : { usage }),
        ...(image === undefined ? {} : { image }),
        ...(staging === undefined ? {} : { staging }),
      };
      return [{ type: 'allocation.ended', allocationId, end: how, output: { stdoutBytes, stderrBytes }, ...details }];
    }
  }
}
