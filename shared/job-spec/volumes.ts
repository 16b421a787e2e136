import { NAME } from '../ids.js';
import { foldedPath, relativePathComplaint } from '../relative-path.js';
import { shown } from '../units.js';
import { VOLUME_SHAPE } from './fields.js';
import { child, type Field, invalid } from './findings.js';
import { readPath } from './inputs.js';
import { hasShape, readBoolean, readList, readOr, readText } from './read.js';
import { SPEC_LIMITS } from './spec.js';
import { STAGING_LIMITS, type VolumeMount } from './staging-spec.js';

/** Undefined when there are none. */
export function readVolumes(field: Field): readonly VolumeMount[] | undefined {
  const volumes = readList(field, STAGING_LIMITS.maxVolumes, readVolume);
  if (volumes === undefined || volumes.length === 0) return undefined;
  const mounts = new Set(volumes.map(({ mount }) => foldedPath(mount)));
  if (mounts.size < volumes.length) invalid(field, 'mounts two volumes in one place; each has its own');
  return volumes;
}

function readVolume(field: Field): VolumeMount | undefined {
  if (!hasShape(field, VOLUME_SHAPE, 'a volume, which is an object with name and mount')) return undefined;
  const name = child(field, 'name');
  if (name.value === undefined) invalid(name, "is missing; name one of the nodes' volumes (see berth nodes)");
  const mount = child(field, 'mount');
  if (mount.value === undefined) invalid(mount, 'is missing; say where the task finds the volume');
  const read = {
    name: readOr(name, readVolumeName, undefined),
    mount: readOr(mount, readMount, undefined),
    isReadOnly: readOr(child(field, 'readOnly'), readBoolean, true),
    subpath: readOr(child(field, 'subpath'), readPath, undefined),
  };
  if (read.name === undefined || read.mount === undefined) return undefined;
  return {
    name: read.name,
    mount: read.mount,
    ...(read.isReadOnly ? {} : { writable: true }),
    ...(read.subpath === undefined ? {} : { subpath: read.subpath }),
  };
}

function readVolumeName(field: Field): string | undefined {
  const name = readText(field, 'the name of a volume');
  if (name === undefined || NAME.test(name)) return name;
  return invalid(field, `${shown(name)} is not the name of a volume; use letters, digits, dots, dashes, underscores`);
}

/** Absolute or relative, without ways out. */
function readMount(field: Field): string | undefined {
  const mount = readText(field, 'a path');
  if (mount === undefined) return undefined;
  const complaint = mount === '/' ? 'is the root itself' : relativePathComplaint(mount.replace(/^\//, ''));
  if (complaint !== undefined) return invalid(field, `${shown(mount)} ${complaint}`);
  return mount.length <= SPEC_LIMITS.maxPathLength ? mount : invalid(field, 'is too long');
}
