import { parseMiB, shown } from '../units.js';
import { CONTAINER_SHAPE } from './fields.js';
import { child, type Field, invalid } from './findings.js';
import { hasShape, readBoolean, readInteger, readList, readOneOf, readOr, readText } from './read.js';
import { CONTAINER_NETWORKS, type ContainerSpec, PULL_POLICIES, SPEC_LIMITS } from './spec.js';

/** How a step's container differs from the usual. */
export function readContainerOf(step: Field, image: string | null): { readonly container?: ContainerSpec } {
  const field = child(step, 'container');
  const container = readOr(field, readContainer, undefined);
  if (container !== undefined && image === null) {
    invalid(field, 'is only for a step with an image; give "image" or remove it');
  }
  return container === undefined ? {} : { container };
}

function readContainer(field: Field): ContainerSpec | undefined {
  if (!hasShape(field, CONTAINER_SHAPE, 'an object with user, network, readOnly and the like')) return undefined;
  const read = <Value>(name: string, reader: (field: Field) => Value | undefined): Value | undefined =>
    readOr(child(field, name), reader, undefined);
  return given({
    user: read('user', readUser),
    readOnly: read('readOnly', readBoolean) === true ? true : undefined,
    tmpfs: read('tmpfs', readPaths),
    shmMiB: read('shmSize', readSize),
    network: read('network', (entry) => readOneOf(entry, CONTAINER_NETWORKS)),
    pidsLimit: read('pidsLimit', readPidsLimit),
    capAdd: read('capAdd', readCapabilities),
    pull: read('pull', (entry) => readOneOf(entry, PULL_POLICIES)),
    entrypoint: read('entrypoint', (entry) => readOneOf(entry, ['image'] as const)),
  });
}

/** Of the published schema too. */
export const USER_PATTERN = '^[A-Za-z0-9_][A-Za-z0-9_.-]*(:[A-Za-z0-9_][A-Za-z0-9_.-]*)?$';
const USER = new RegExp(USER_PATTERN);

function readUser(field: Field): string | undefined {
  const user = readText(field, 'a user');
  if (user === undefined || USER.test(user)) return user;
  return invalid(field, `${shown(user)} is not a user; write for example "1000:1000" or nobody`);
}

function readPaths(field: Field): readonly string[] | undefined {
  return filled(
    readList(field, SPEC_LIMITS.maxTmpfs, (entry) => {
      const path = readText(entry, 'a path');
      if (path === undefined || /^\/[^,:]+$/.test(path)) return path;
      return invalid(entry, `${shown(path)} is not an absolute path without "," and ":"; write for example /scratch`);
    }),
  );
}

function readSize(field: Field): number | undefined {
  const mebibytes = parseMiB(field.value);
  if (typeof mebibytes === 'string') return invalid(field, mebibytes);
  if (mebibytes >= 1 && mebibytes <= SPEC_LIMITS.maxMiB) return mebibytes;
  return invalid(field, `${shown(field.value)} is out of range; it is from 1MiB to 1PiB`);
}

function readPidsLimit(field: Field): number | undefined {
  return readInteger(field, { what: 'a number of processes', min: 1, max: SPEC_LIMITS.maxPids });
}

function readCapabilities(field: Field): readonly string[] | undefined {
  return filled(
    readList(field, SPEC_LIMITS.maxCapabilities, (entry) => {
      const name = readText(entry, 'a capability')?.replace(/^CAP_/, '');
      if (name === undefined || /^[A-Z_]+$/.test(name)) return name;
      return invalid(entry, `${shown(name)} is not a capability; write for example NET_BIND_SERVICE`);
    }),
  );
}

/** An empty list says no more than none. */
function filled<Entry>(list: readonly Entry[] | undefined): readonly Entry[] | undefined {
  return list?.length ? list : undefined;
}

function given<Fields extends object>(fields: { [Key in keyof Fields]: Fields[Key] | undefined }): Fields | undefined {
  const some = Object.entries(fields).filter(([, value]) => value !== undefined);
  return some.length === 0 ? undefined : (Object.fromEntries(some) as Fields);
}
