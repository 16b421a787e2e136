import { child, type Field, hint, invalid } from './findings.js';
import type { StepSpec } from './spec.js';

/**
 * The steps so that each comes after all that it needs; among the free ones, the order of the input.
 *
 * `fields` are the steps' places in the input, for reporting unknown and repeated names and circles; the result is
 * meaningless when something was reported.
 */
export function inDependencyOrder(steps: readonly StepSpec[], fields: readonly Field[]): readonly StepSpec[] {
  const isSound = namesAreUnique(steps, fields) && needsAreKnown(steps, fields);
  if (!isSound) return steps;
  const done = new Set<string>();
  const ordered: StepSpec[] = [];
  while (ordered.length < steps.length) {
    const free = steps.find((step) => !done.has(step.name) && step.needs.every((name) => done.has(name)));
    if (!free) {
      reportCircle(steps, fields, done);
      return steps;
    }
    done.add(free.name);
    ordered.push(free);
  }
  return ordered;
}

function namesAreUnique(steps: readonly StepSpec[], fields: readonly Field[]): boolean {
  const first = new Map<string, number>();
  let isUnique = true;
  for (const [position, { name }] of steps.entries()) {
    const earlier = first.get(name);
    const field = fields[position];
    if (earlier === undefined) first.set(name, position);
    else if (field && name !== '') {
      invalid(child(field, 'name'), `"${name}" is also the name of steps[${earlier}]; each step has its own`);
      isUnique = false;
    }
  }
  return isUnique;
}

function needsAreKnown(steps: readonly StepSpec[], fields: readonly Field[]): boolean {
  const names = new Set(steps.map((step) => step.name));
  let isKnown = true;
  for (const [position, step] of steps.entries()) {
    const field = fields[position];
    for (const need of step.needs) {
      if (names.has(need) || !field) continue;
      invalid(child(field, 'needs'), `there is no step "${need}"${hint(field, need, without(names, step.name))}`);
      isKnown = false;
    }
  }
  return isKnown;
}

function without(names: ReadonlySet<string>, name: string): string[] {
  return [...names].filter((other) => other !== name);
}

/** Every step that is left needs another that is left, so following them must come round. */
function reportCircle(steps: readonly StepSpec[], fields: readonly Field[], done: ReadonlySet<string>): void {
  const byName = new Map(steps.map((step) => [step.name, step]));
  const walked: string[] = [];
  let step = steps.find(({ name }) => !done.has(name));
  while (step && !walked.includes(step.name)) {
    walked.push(step.name);
    const next = step.needs.find((name) => !done.has(name));
    step = next === undefined ? undefined : byName.get(next);
  }
  if (!step) return;
  const circle = [...walked.slice(walked.indexOf(step.name)), step.name];
  const field = fields[steps.indexOf(step)];
  if (field) invalid(child(field, 'needs'), `the steps need each other in a circle: ${circle.join(' -> ')}`);
}
