import { isAbsolute } from 'node:path';
import { Unfit } from '../shared/config.js';
import { NAME } from '../shared/ids.js';
import { didYouMean } from '../shared/suggest.js';
import { parseMiB } from '../shared/units.js';
import type { NodeVolume } from './staging/volumes.js';

const KEYS = ['path', 'writable', 'mounted', 'tmpfs'];

/** Volumes, one a line: `scans=path=/data/scans,writable=true`, or shorter `scans=/data/scans`. */
export function parseVolumes(text: string): readonly NodeVolume[] | Unfit {
  const volumes = new Map<string, NodeVolume>();
  for (const line of text.split('\n')) {
    const volume = parseVolume(line);
    if (volume instanceof Unfit) return volume;
    if (volumes.has(volume.name)) return new Unfit(`"${volume.name}" is given twice`);
    volumes.set(volume.name, volume);
  }
  // In one order, so that equal nodes are of one class.
  return [...volumes.values()].sort((left, right) => (left.name < right.name ? -1 : 1));
}

function parseVolume(line: string): NodeVolume | Unfit {
  const [, name = '', rest = ''] = /^([^=]+)=(.+)$/.exec(line) ?? [];
  if (!NAME.test(name)) return new Unfit(`"${line}" is not NAME=path=PATH; write for example scans=path=/data/scans`);
  const given = new Map((rest.startsWith('/') ? `path=${rest}` : rest).split(',').map(keyAndValue));
  for (const key of given.keys()) {
    if (!KEYS.includes(key)) return new Unfit(`volume "${name}" has no "${key}"${didYouMean(key, KEYS)}`);
  }
  const writable = isTrue(name, 'writable', given.get('writable') ?? 'false');
  const mustBeMounted = isTrue(name, 'mounted', given.get('mounted') ?? 'false');
  if (writable instanceof Unfit) return writable;
  if (mustBeMounted instanceof Unfit) return mustBeMounted;
  const [path, size] = [given.get('path'), given.get('tmpfs')];
  if ((path === undefined) === (size === undefined)) {
    return new Unfit(`volume "${name}" needs a path, or the size of a tmpfs, and not both`);
  }
  if (path !== undefined) {
    if (!isAbsolute(path)) return new Unfit(`volume "${name}": "${path}" is not absolute; write the path from /`);
    return { name, writable, place: { kind: 'folder', path, mustBeMounted } };
  }
  const sizeMiB = parseMiB(size);
  if (typeof sizeMiB === 'string') return new Unfit(`volume "${name}": ${sizeMiB}`);
  return { name, writable: true, place: { kind: 'tmpfs', sizeMiB } };
}

function keyAndValue(text: string): [string, string] {
  const at = text.indexOf('=');
  return at === -1 ? [text, 'true'] : [text.slice(0, at), text.slice(at + 1)];
}

function isTrue(name: string, key: string, text: string): boolean | Unfit {
  if (text === 'true' || text === 'false') return text === 'true';
  return new Unfit(`volume "${name}": ${key} is "${text}"; write true or false`);
}
