import Type, { type Static } from 'typebox';
import type { Job, Step } from '../model/job.js';
import type { Alternative } from '../model/route.js';
import type { RoutingPolicy } from '../routing/alternatives.js';
import { DEFAULT_PLAN_POLICY } from '../scheduler/plan.js';
import { instant, instantOrNull, nullable, time } from './schemas.js';
import type { Service } from './service.js';

export const alternativeSchema = Type.Object({
  target: Type.String(),
  startAt: nullable(time('When the next waiting task would start there; null when nobody knows.')),
  doneAt: nullable(time('When the last of them would be done.')),
  usable: Type.Boolean({ description: 'False when none would start there as things are.' }),
  pricePerHour: Type.Number({ description: "Of one task, in the operator's currency." }),
  ground: Type.String({ description: 'What that rests on.' }),
});

export const routeSchema = Type.Object({
  step: Type.String(),
  target: Type.String({ description: 'Where its waiting tasks go.' }),
  because: Type.String(),
  at: time('When it was decided.'),
  alternatives: Type.Array(alternativeSchema, { description: 'Its targets as they were expected to be then.' }),
});
export type RouteView = Static<typeof routeSchema>;

/** Where the job's steps with several targets go, and why. */
export function routesOf({ steps }: Job): RouteView[] {
  return [...steps.values()].map(presentRoute).filter((route) => route !== null);
}

/** Null where there is nothing to choose, or nothing has been chosen. */
export function presentRoute({ name, route }: Step): RouteView | null {
  if (!route) return null;
  const { target, because, at, alternatives } = route;
  return { step: name, target, because, at: instant(at), alternatives: alternatives.map(presentAlternative) };
}

export function presentAlternative(alternative: Alternative): Static<typeof alternativeSchema> {
  const { target, startAt, doneAt, isUsable, pricePerHour, ground } = alternative;
  const times = { startAt: instantOrNull(startAt), doneAt: instantOrNull(doneAt) };
  return { target, ...times, usable: isUsable, pricePerHour, ground };
}

/** As the engine compares targets. */
export function routingOf({ limits, packing, remotes }: Service): RoutingPolicy {
  return { planning: { ...DEFAULT_PLAN_POLICY, limits, packing }, outlook: (request) => remotes.outlookOf(request) };
}
