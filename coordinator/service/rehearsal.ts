import Type, { type Static } from 'typebox';
import { isRefusal, type Refusal } from '../../shared/errors.js';
import { route } from '../routing/route.js';
import { DEFAULT_PLAN_POLICY } from '../scheduler/plan.js';
import { type RehearsalPolicy, rehearse, type StepRehearsal } from '../scheduler/rehearse.js';
import { readSpec, type Submission } from './jobs.js';
import { presentRoute, routeSchema, routingOf } from './present-route.js';
import { nullable } from './schemas.js';
import type { Service } from './service.js';
import { reasonSchema } from './why.js';

const count = Type.Integer({ minimum: 0 });

export const rehearsalSchema = Type.Object({
  name: Type.String({ description: 'Of the job that was not submitted.' }),
  taskCount: count,
  placedCount: count,
  steps: Type.Array(
    Type.Object({
      step: Type.String(),
      taskCount: count,
      placedCount: Type.Integer({ minimum: 0, description: 'Tasks that would be placed at once.' }),
      nodes: Type.Array(Type.Object({ node: Type.String(), taskCount: count })),
      reason: nullable(reasonSchema, 'Why the others would wait; null when none would.'),
      route: nullable(routeSchema, 'Which of its targets it would go to; null where there is nothing to choose.'),
    }),
  ),
});
export type RehearsalView = Static<typeof rehearsalSchema>;

/** More tasks than this are not placed in a rehearsal; they are counted as waiting. */
const MAX_PLACEMENTS = 10_000;

/** What would become of a job, or why it would be refused. Nothing changes. */
export async function rehearseJob(
  service: Service,
  { input, by }: Pick<Submission, 'input' | 'by'>,
): Promise<RehearsalView | Refusal> {
  const spec = await readSpec(input);
  if (isRefusal(spec)) return spec;
  const unfit = await service.remotes.refuse(spec);
  if (unfit) return unfit;
  const refused = await service.engine.handle({ type: 'rehearseJob', spec, by });
  if (isRefusal(refused)) return refused;
  return service.engine.read((view) => {
    const { limits, packing } = service;
    const policy = { ...DEFAULT_PLAN_POLICY, maxPlacements: MAX_PLACEMENTS, limits, packing };
    const { pricing, clock, machines } = service;
    const troubleOf = (pool: string) => machines.troubleOf(pool);
    const now = clock.now();
    const routing = routingOf(service);
    const routeOf: RehearsalPolicy['routeOf'] = (seen, place) => route(seen, place, routing, now);
    const steps = rehearse(view, { spec, by }, { policy, pricing, now, troubleOf, routeOf }).map(present);
    const sum = (of: (step: RehearsalView['steps'][number]) => number): number =>
      steps.reduce((total, step) => total + of(step), 0);
    return {
      name: spec.name,
      taskCount: sum((step) => step.taskCount),
      placedCount: sum((step) => step.placedCount),
      steps,
    };
  });
}

function present({ step, placed, reason }: StepRehearsal): RehearsalView['steps'][number] {
  const nodes = [...placed].map(([node, taskCount]) => ({ node: node as string, taskCount }));
  const placedCount = nodes.reduce((total, { taskCount }) => total + taskCount, 0);
  return {
    step: step.name,
    taskCount: step.count,
    placedCount,
    nodes,
    reason: reason ?? null,
    route: presentRoute(step),
  };
}
