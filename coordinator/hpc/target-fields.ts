import { child, type Field, invalid } from '../../shared/job-spec/findings.js';
import { hasShape, readInteger, readList, readOr, readText } from '../../shared/job-spec/read.js';
import { shown } from '../../shared/units.js';
import type { OidcClient, PlgDataPlace, SiteCommands, SshEndpoint } from './target.js';

const SSH_PORT = 22;
const MAX_PORT = 65_535;
const MAX_PATH_LENGTH = 512;
const MAX_WORDS = 256;

/** An absolute path without ways out. Systems expand `%` in the names of output files. */
export function readRemotePath(field: Field): string | undefined {
  const path = readText(field, 'a path');
  if (path === undefined) return undefined;
  const parts = path.split('/').slice(1);
  if (!path.startsWith('/')) return invalid(field, `${shown(path)} is not absolute; write it from / on`);
  if (parts.some((part) => part === '' || part === '.' || part === '..')) {
    return invalid(field, `${shown(path)} has an empty part, "." or ".."; write it without, and not / itself`);
  }
  if (/[%\p{Cc}]/u.test(path)) return invalid(field, `${shown(path)} has a control character or "%"`);
  return path.length <= MAX_PATH_LENGTH ? path : invalid(field, `is longer than ${MAX_PATH_LENGTH} characters`);
}

export function readHttpUrl(field: Field): string | undefined {
  const text = readText(field, 'a URL');
  if (text === undefined) return undefined;
  if (/^https?:\/\/[^\s@/?#]+(\/[^\s?#]*)?$/.test(text)) return text.replace(/\/+$/, '');
  return invalid(field, `${shown(text)} is not a URL like https://slurm.example.org:6820, without a password in it`);
}

export function readSsh(field: Field): SshEndpoint | undefined {
  const fields = ['host', 'port', 'user', 'hostKey', 'knownHosts', 'credential'];
  if (!hasShape(field, { fields }, 'the way to a host, {host, user, hostKey}')) return undefined;
  const host = readNeeded(child(field, 'host'), 'the name or address of the login node');
  const user = readNeeded(child(field, 'user'), "the account's name");
  const hostKey = readOr(child(field, 'hostKey'), readFingerprint, null);
  const knownHosts = readOr(child(field, 'knownHosts'), readRemotePath, null);
  if (child(field, 'hostKey').value === undefined && child(field, 'knownHosts').value === undefined) {
    const how = 'ssh-keyscan HOST | ssh-keygen -lf - shows it; compare it with what the site publishes';
    invalid(child(field, 'hostKey'), `is missing; give the host's key as SHA256:..., or a "knownHosts" file (${how})`);
  }
  return {
    host,
    user,
    port: readOr(
      child(field, 'port'),
      (each) => readInteger(each, { what: 'a port', min: 1, max: MAX_PORT }),
      SSH_PORT,
    ),
    hostKey,
    knownHosts,
    credential: readOr(child(field, 'credential'), (each) => readText(each, 'the name of a secret'), null),
  };
}

const PLGDATA = 'https://data.plgrid.pl';

export function readPlgData(field: Field): PlgDataPlace | undefined {
  const fields = ['endpoint', 'site', 'host'];
  if (!hasShape(field, { fields }, "a cluster's disks behind PLGData, {site, host}")) return undefined;
  return {
    endpoint: readOr(child(field, 'endpoint'), readHttpUrl, PLGDATA),
    site: readNeeded(child(field, 'site'), "PLGData's key of the cluster, such as ares"),
    host: readNeeded(child(field, 'host'), 'the name of the login node, such as ares.cyfronet.pl'),
  };
}

function readNeeded(field: Field, what: string): string {
  if (field.value === undefined) invalid(field, `is missing; write ${what}`);
  const word = readOr(field, (each) => readText(each, what), '');
  if (field.value !== undefined && !/^[^\s-][^\s]*$/.test(word)) invalid(field, `${shown(field.value)} is not ${what}`);
  return word;
}

function readFingerprint(field: Field): string | undefined {
  const text = readText(field, "the host's key");
  if (text === undefined || /^SHA256:[A-Za-z0-9+/]{43}=?$/.test(text)) return text?.replace(/=$/, '');
  return invalid(field, `${shown(text)} is not like SHA256:..., as ssh-keygen -l prints it`);
}

export function readOidc(field: Field): OidcClient | undefined {
  const fields = ['issuer', 'clientId', 'clientSecret', 'refreshToken', 'scope', 'audience'];
  if (!hasShape(field, { fields }, 'a client of an OpenID provider, {issuer, clientId, clientSecret}'))
    return undefined;
  const text = (key: string, what: string): string | null =>
    readOr(child(field, key), (each) => readText(each, what), null);
  if (child(field, 'issuer').value === undefined)
    invalid(child(field, 'issuer'), 'is missing; write for example https://idp.example.org/realms/lab');
  const client = {
    issuer: readOr(child(field, 'issuer'), readHttpUrl, ''),
    clientId: readNeeded(child(field, 'clientId'), "the client's name at the provider"),
    clientSecret: text('clientSecret', 'the name of a secret'),
    refreshToken: text('refreshToken', 'the name of a secret'),
    scope: text('scope', 'words that the provider knows'),
    audience: text('audience', 'whom the token is for'),
  };
  if (child(field, 'clientSecret').value !== undefined || client.refreshToken !== null) return client;
  return invalid(child(field, 'clientSecret'), 'is missing; name the secret, or that of a "refreshToken"');
}

export function readCommands(field: Field): SiteCommands | undefined {
  const fields = ['submit', 'status', 'cancel', 'check'];
  if (!hasShape(field, { fields }, 'commands of the site, {submit, status, cancel}')) return undefined;
  const read = (key: string): readonly string[] => {
    const each = child(field, key);
    if (each.value === undefined) invalid(each, 'is missing; write the command as a list of words');
    return readOr(each, readTemplate, []);
  };
  return {
    submit: read('submit'),
    status: read('status'),
    cancel: read('cancel'),
    check: readOr(child(field, 'check'), readTemplate, null),
  };
}

/** What a template may be filled in with. */
export const PLACEHOLDERS = [
  'tag',
  'work',
  'script',
  'id',
  'ids',
  'account',
  'partition',
  'cpus',
  'memoryMiB',
  'gpus',
  'timeLimitSeconds',
  'array',
] as const;

function readTemplate(field: Field): readonly string[] | undefined {
  const words = readList(field, MAX_WORDS, (each) => {
    const word = readText(each, 'a text');
    for (const [whole, name] of word?.matchAll(/\{([A-Za-z]+)\}/g) ?? []) {
      if (PLACEHOLDERS.some((known) => known === name)) continue;
      invalid(each, `there is no ${whole}; there are ${PLACEHOLDERS.map((known) => `{${known}}`).join(', ')}`);
    }
    return word;
  });
  if (words?.length === 0) return invalid(field, 'is empty; the first entry is the program');
  return words;
}
