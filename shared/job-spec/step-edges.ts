import { foldedPath, overlaps } from '../relative-path.js';
import { child, type Field, hint, invalid, item } from './findings.js';
import type { StepSpec } from './spec.js';

/** The step with the needs that follow from its inputs. */
export function withNeedsOfEdges(step: StepSpec): StepSpec {
  const edges = (step.inputs ?? []).flatMap(({ source }) => (source.kind === 'step' ? [source.step] : []));
  return edges.length === 0 ? step : { ...step, needs: [...new Set([...step.needs, ...edges])] };
}

/** Reports edges from steps that are not there or leave nothing, and files that would come to lie on each other. */
export function checkStaging(steps: readonly StepSpec[], fields: readonly Field[]): void {
  const byName = new Map(steps.map((step) => [step.name, step]));
  for (const [position, step] of steps.entries()) {
    const field = fields[position];
    if (!field) continue;
    checkPlaces(step, field);
    for (const [at, { source }] of (step.inputs ?? []).entries()) {
      if (source.kind !== 'step') continue;
      const place = child(child(item(child(field, 'inputs'), at, listed(field, at)), 'from'), 'step');
      const producer = byName.get(source.step);
      if (!producer) invalid(place, `there is no step "${source.step}"${hint(field, source.step, byName.keys())}`);
      else if (!producer.outputs) invalid(place, `the step "${source.step}" has no "outputs"; declare what it leaves`);
    }
  }
}

function listed(step: Field, at: number): unknown {
  const inputs = child(step, 'inputs').value;
  return Array.isArray(inputs) ? inputs[at] : undefined;
}

/** Edges bring many files, which may share a folder; anything else has a place of its own. */
function checkPlaces(step: StepSpec, field: Field): void {
  const taken = new Map<string, string>();
  for (const { to, source } of step.inputs ?? []) {
    const folded = foldedPath(to);
    const other = taken.get(folded);
    if (other !== undefined && source.kind !== 'step') {
      invalid(child(field, 'inputs'), `puts two files to "${to}"${other === to ? '' : ` and "${other}"`}`);
    }
    taken.set(folded, to);
  }
  for (const { mount } of step.volumes ?? []) {
    const covered = (step.inputs ?? []).find(({ to }) => overlaps(to, mount));
    if (covered) invalid(child(field, 'volumes'), `mounts "${mount}" where the input "${covered.to}" goes`);
  }
}
