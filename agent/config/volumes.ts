import { isAbsolute } from 'node:path';
import { Unfit } from '../../shared/config.js';
import { NAME } from '../../shared/ids.js';
import { didYouMean } from '../../shared/suggest.js';
import { parseMiB } from '../../shared/units.js';
import type { NodeVolume } from '../staging/node-volume.js';

const KEYS = ['path', 'writable', 'mounted', 'tmpfs', 'type', 'source', 'options', 'credentials'];
const PROTOCOLS = ['nfs', 'smb'] as const;
const SOURCES = {
  nfs: { form: /^[^\s/:-][^\s/]*:\/\S*$/, example: 'nas:/export/scans' },
  smb: { form: /^\/\/[^\s/]+\/\S+$/, example: '//nas/scans' },
} as const;
/** Of a mount's options. What is ours to say, or would show a password to everybody, is refused. */
const OPTION = /^[A-Za-z0-9_.=:@/-]+$/;
const RESERVED = /^(ro|rw|suid|dev|username|user|password|pass|credentials|cred|guest)(=|$)/;

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
  const type = given.get('type');
  if (type !== undefined) return parseNetwork(name, type, { given, writable });
  const foreign = ['source', 'options', 'credentials'].find((key) => given.has(key));
  if (foreign !== undefined) return new Unfit(`volume "${name}": ${foreign} goes with type=nfs or type=smb`);
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

interface Given {
  readonly given: ReadonlyMap<string, string>;
  readonly writable: boolean;
}

function parseNetwork(name: string, type: string, { given, writable }: Given): NodeVolume | Unfit {
  const unfit = (what: string): Unfit => new Unfit(`volume "${name}": ${what}`);
  const protocol = PROTOCOLS.find((known) => known === type);
  if (protocol === undefined) return unfit(`its type "${type}" is neither nfs nor smb`);
  const other = ['path', 'tmpfs', 'mounted'].find((key) => given.has(key));
  if (other !== undefined) return unfit(`${other} does not go with type=${type}, which the agent mounts itself`);
  const { form, example } = SOURCES[protocol];
  const source = given.get('source') ?? '';
  if (!form.test(source)) return unfit(`its source "${source}" is no ${type} share; write for example ${example}`);
  const options = (given.get('options') ?? '').split(';').filter((option) => option !== '');
  const bad = options.find((option) => !OPTION.test(option) || RESERVED.test(option));
  if (bad !== undefined) {
    return unfit(`the option "${bad}" cannot be given; use writable for ro and rw, and credentials for a password`);
  }
  const credentialsFile = given.get('credentials') ?? null;
  if (credentialsFile !== null && (protocol === 'nfs' || !isAbsolute(credentialsFile))) {
    return unfit(`credentials are the absolute path of a file with username= and password=, for type=smb`);
  }
  return { name, writable, place: { kind: 'network', protocol, source, options, credentialsFile } };
}

function keyAndValue(text: string): [string, string] {
  const at = text.indexOf('=');
  return at === -1 ? [text, 'true'] : [text.slice(0, at), text.slice(at + 1)];
}

function isTrue(name: string, key: string, text: string): boolean | Unfit {
  if (text === 'true' || text === 'false') return text === 'true';
  return new Unfit(`volume "${name}": ${key} is "${text}"; write true or false`);
}
