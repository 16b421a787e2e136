import Type, { type Static } from 'typebox';
import { formatJobSpec } from '../../shared/job-spec/format.js';
import type { BerthEvent, EventType, LoggedEvent } from '../model/events.js';
import { instant, time } from './schemas.js';

const KNOWN_TYPES: Readonly<Record<EventType, true>> = {
  'job.submitted': true,
  'job.held': true,
  'job.released': true,
  'job.cancelRequested': true,
  'job.finished': true,
  'step.released': true,
  'step.routed': true,
  'step.swept': true,
  'task.requeued': true,
  'task.finished': true,
  'allocation.committed': true,
  'allocation.preparing': true,
  'allocation.started': true,
  'allocation.stopRequested': true,
  'allocation.ended': true,
  'node.registered': true,
  'node.connected': true,
  'node.suspected': true,
  'node.lost': true,
  'node.departed': true,
  'node.removed': true,
  'node.opened': true,
  'node.cordoned': true,
  'node.draining': true,
  'node.drained': true,
  'pool.defined': true,
  'pool.retiring': true,
  'pool.removed': true,
  'pool.enabled': true,
  'pool.disabled': true,
  'pool.cordoned': true,
  'pool.scaled': true,
  'mirror.submitted': true,
  'mirror.queued': true,
  'mirror.moved': true,
  'instance.requested': true,
  'instance.booting': true,
  'instance.joined': true,
  'instance.closing': true,
  'instance.reopened': true,
  'instance.stopping': true,
  'instance.suspended': true,
  'instance.resuming': true,
  'instance.terminated': true,
  'instance.orderFailed': true,
};

export const EVENT_TYPES = Object.keys(KNOWN_TYPES) as readonly EventType[];

export function isEventType(text: string): text is EventType {
  return Object.hasOwn(KNOWN_TYPES, text);
}

export const eventSchema = Type.Object(
  { seq: Type.Integer({ minimum: 1 }), at: time('When it was decided.'), type: Type.String() },
  { additionalProperties: true, description: 'A fact; its other fields depend on its type.' },
);
export type EventView = Static<typeof eventSchema> & Readonly<Record<string, unknown>>;

const INSTANTS = new Set(['startedAt', 'notBefore', 'until', 'deadlineAt']);

export function presentEvent({ seq, at, event }: LoggedEvent): EventView {
  const fields: Record<string, unknown> = {};
  for (const [name, value] of Object.entries(published(event))) {
    fields[name] = INSTANTS.has(name) && typeof value === 'number' ? instant(value) : value;
  }
  return { seq, at: instant(at), ...fields, type: event.type };
}

/** Specifications in their published form; without submission keys and agents' identities, which work like secrets. */
function published(event: BerthEvent): object {
  if (event.type === 'job.submitted') {
    const { key: _, spec, ...rest } = event;
    return { ...rest, spec: formatJobSpec(spec) };
  }
  if (event.type === 'node.registered') {
    const { identity: _, ...rest } = event;
    return rest;
  }
  return event;
}
