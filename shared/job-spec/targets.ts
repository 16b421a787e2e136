import { NAME } from '../ids.js';
import { shown } from '../units.js';
import { child, type Field, invalid } from './findings.js';
import { readList, readOneOf, readOr, readText } from './read.js';
import { readTimeLimit } from './run-policy.js';
import { type PlaceName, PREFERENCES, SPEC_LIMITS, type StepSpec } from './spec.js';

/** Where a step may run, in one word or as a list, and what decides when there are several. */
export function readTargets(step: Field): Pick<StepSpec, 'targets' | 'prefer' | 'deadlineMs'> {
  const one = child(step, 'target');
  const list = child(step, 'targets');
  if (one.value !== undefined && list.value !== undefined) {
    invalid(one, 'cannot be given together with "targets"; keep one of them');
  }
  const only = readOr(one, readPlace, undefined);
  const targets = readOr(list, readPlaces, undefined) ?? (only && [only]);
  const prefer = readOr(child(step, 'prefer'), (field) => readOneOf(field, PREFERENCES), undefined);
  const deadlineMs = readOr(child(step, 'deadline'), readTimeLimit, undefined);
  for (const name of ['prefer', 'deadline']) {
    const field = child(step, name);
    const isAlone = field.value !== undefined && (targets?.length ?? 0) < 2;
    if (isAlone) invalid(field, 'decides between several "targets"; name more of them, or remove it');
  }
  return {
    ...(targets === undefined ? {} : { targets }),
    ...(prefer === undefined ? {} : { prefer }),
    ...(deadlineMs === undefined ? {} : { deadlineMs }),
  };
}

function readPlaces(field: Field): readonly PlaceName[] | undefined {
  const places = readList(field, SPEC_LIMITS.maxTargets, readPlace);
  if (places?.length === 0) return invalid(field, 'is empty; name a place, or remove the field');
  const twice = places?.find((place, position) => places.indexOf(place) !== position);
  return twice === undefined ? places : invalid(field, `names ${twice} twice; keep one of them`);
}

/** Whether there is such a target or pool, the coordinator knows. */
function readPlace(field: Field): PlaceName | undefined {
  const text = readText(field, 'the name of a place');
  if (text === undefined) return undefined;
  if (text === 'cluster') return text;
  const [, kind, name = ''] = /^(hpc|pool)\/(.*)$/s.exec(text) ?? [];
  if (kind !== undefined && NAME.test(name)) return text as PlaceName;
  return invalid(field, `${shown(text)} is not a target; write hpc/NAME, pool/NAME or cluster`);
}
