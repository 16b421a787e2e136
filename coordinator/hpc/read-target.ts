import type { Refusal } from '../../shared/errors.js';
import { NAME } from '../../shared/ids.js';
import { child, type Field, type Finding, invalid, refusalOf } from '../../shared/job-spec/findings.js';
import { hasShape, readInteger, readList, readOneOf, readOr, readText } from '../../shared/job-spec/read.js';
import { parseDuration, shown } from '../../shared/units.js';
import { CONTAINER_RUNTIMES } from './containers.js';
import type { PathMapping } from './paths.js';
import { BACKENDS, type HpcTarget, KEEP_POLICIES, type MonitoringPeriod } from './target.js';
import { readCommands, readHttpUrl, readOidc, readPlgData, readRemotePath, readSsh } from './target-fields.js';

const DEFAULT_PERIOD: MonitoringPeriod = { minMs: 2_000, maxMs: 60_000 };
/** More often than this is a burden for any controller. */
const LEAST_PERIOD_MS = 500;
const LONGEST_PERIOD_MS = 60 * 60 * 1_000;
const LONGEST_LIMIT_MS = 366 * 24 * 60 * 60 * 1_000;
const MAX_MAPPINGS = 64;
/** Slurm's own upper limit of MaxArraySize. */
const LARGEST_ARRAY = 4_000_001;
const MAX_WORDS = 256;

const SHAPE = {
  fields: [
    'name',
    'backend',
    'endpoint',
    'ssh',
    'plgdata',
    'user',
    'credential',
    'credentialCommand',
    'oidc',
    'account',
    'partition',
    'timeLimit',
    'maxArraySize',
    'container',
    'setup',
    'stagingRoot',
    'paths',
    'period',
    'keep',
    'commands',
  ],
  elsewhere: { host: 'ssh.host', port: 'ssh.port', hostKey: 'ssh.hostKey', knownHosts: 'ssh.knownHosts' },
} as const;

/**
 * A target's configuration, as parsed from YAML or JSON.
 *
 * Refuses with `invalid-request` and every problem found.
 */
export function parseTarget(input: unknown): HpcTarget | Refusal {
  const findings: Finding[] = [];
  const field: Field = { path: [], value: input, findings };
  hasShape(field, SHAPE, 'the configuration of a target, with keys like "backend" and "stagingRoot"');
  const target = findings.length > 0 && typeof input !== 'object' ? undefined : readTarget(field);
  if (target !== undefined && findings.length === 0) return target;
  const refusal = refusalOf(findings);
  const all = (refusal.problems ?? []).map(({ field: name, message }) =>
    name === '' ? message : `${name}: ${message}`,
  );
  return { ...refusal, refused: 'invalid-request', detail: all.join('\n') };
}

function readTarget(field: Field): HpcTarget {
  const backend = readRequired(child(field, 'backend'), (each) => readOneOf(each, BACKENDS), 'slurm-local');
  const target: HpcTarget = {
    name: readOr(child(field, 'name'), readName, backend),
    backend,
    endpoint: readOr(child(field, 'endpoint'), readHttpUrl, null),
    ssh: readOr(child(field, 'ssh'), readSsh, null),
    plgdata: readOr(child(field, 'plgdata'), readPlgData, null),
    user: readOr(child(field, 'user'), readWord, null),
    credential: readOr(child(field, 'credential'), readName, null),
    credentialCommand: readOr(child(field, 'credentialCommand'), readArgv, null),
    oidc: readOr(child(field, 'oidc'), readOidc, null),
    account: readOr(child(field, 'account'), readWord, null),
    partition: readOr(child(field, 'partition'), readWord, null),
    timeLimitMs: readOr(child(field, 'timeLimit'), readDurationFrom(1_000, LONGEST_LIMIT_MS), null),
    maxArraySize: readOr(child(field, 'maxArraySize'), readArraySize, null),
    container: readOr(child(field, 'container'), (each) => readOneOf(each, CONTAINER_RUNTIMES), null),
    setup: readOr(child(field, 'setup'), (each) => readText(each, 'shell commands'), ''),
    stagingRoot: readRequired(child(field, 'stagingRoot'), readRemotePath, '/'),
    paths: readOr(child(field, 'paths'), readPaths, []),
    period: readOr(child(field, 'period'), readPeriod, DEFAULT_PERIOD),
    keep: readOr(child(field, 'keep'), (each) => readOneOf(each, KEEP_POLICIES), 'failed'),
    commands: readOr(child(field, 'commands'), readCommands, null),
  };
  checkBackend(field, target);
  return target;
}

/** What one kind of backend needs and another cannot use. */
function checkBackend(field: Field, target: HpcTarget): void {
  const needs = (key: keyof HpcTarget, remedy: string): void => {
    if (target[key] === null && child(field, key).value === undefined) {
      invalid(child(field, key), `is missing; the backend ${target.backend} needs it: ${remedy}`);
    }
  };
  const hasNo = (key: keyof HpcTarget): void => {
    if (target[key] !== null) invalid(child(field, key), `is not used by the backend ${target.backend}; remove it`);
  };
  if (target.backend === 'slurm-ssh') needs('ssh', 'write ssh: {host, user, hostKey}');
  if (target.backend !== 'rimrock') hasNo('plgdata');
  else if (child(field, 'plgdata').value === undefined)
    needs('ssh', "the cluster's login node, for files: write ssh: {host, user, hostKey}, or plgdata: {site, host}");
  else if (target.ssh !== null) invalid(child(field, 'ssh'), 'is not used beside "plgdata"; remove one of the two');
  if (target.backend === 'slurm-local') hasNo('ssh');
  if (target.backend === 'command') needs('commands', 'write commands: {submit, status, cancel}');
  else hasNo('commands');
  if (target.backend === 'slurm-rest' || target.backend === 'rimrock') {
    needs('endpoint', 'write for example https://slurm.example.org:6820');
    if (target.credentialCommand === null && child(field, 'oidc').value === undefined)
      needs('credential', 'write the name of the secret with the token');
  } else {
    hasNo('endpoint');
    hasNo('credentialCommand');
    hasNo('credential');
  }
  if (target.backend !== 'slurm-rest') hasNo('oidc');
  if (target.oidc !== null && (target.credential ?? target.credentialCommand) !== null)
    invalid(child(field, 'oidc'), 'gives the token already; remove "credential" and "credentialCommand"');
  if (target.backend === 'slurm-rest') needs('user', "write the account's name at the site");
  else hasNo('user');
}

function readRequired<Value>(field: Field, read: (field: Field) => Value | undefined, fallback: Value): Value {
  if (field.value === undefined) invalid(field, 'is missing');
  return readOr(field, read, fallback);
}

function readName(field: Field): string | undefined {
  const name = readText(field, 'a name');
  if (name === undefined || NAME.test(name)) return name;
  return invalid(field, `${shown(name)} is not a name; use letters, digits, dots, dashes and underscores`);
}

/** What goes to the remote side as one word; a dash first would be an option there. */
function readWord(field: Field): string | undefined {
  const word = readText(field, 'a word');
  if (word === undefined || /^[A-Za-z0-9_][^\s,|]*$/.test(word)) return word;
  return invalid(field, `${shown(word)} is not one word that begins with a letter, a digit or an underscore`);
}

function readArraySize(field: Field): number | undefined {
  return readInteger(field, { what: 'a number of indexes', min: 1, max: LARGEST_ARRAY });
}

function readArgv(field: Field): readonly string[] | undefined {
  const argv = readList(field, MAX_WORDS, (each) => readText(each, 'a text'));
  if (argv !== undefined && argv.length > 0) return argv;
  return argv && invalid(field, 'is empty; the first entry is the program');
}

function readDurationFrom(minMs: number, maxMs: number): (field: Field) => number | undefined {
  return (field) => {
    const durationMs = parseDuration(field.value);
    if (typeof durationMs === 'string') return invalid(field, durationMs);
    if (durationMs >= minMs && durationMs <= maxMs) return durationMs;
    return invalid(field, `${shown(field.value)} is out of range; it is from ${minMs}ms to ${maxMs / 1_000}s`);
  };
}

function readPeriod(field: Field): MonitoringPeriod | undefined {
  const read = readDurationFrom(LEAST_PERIOD_MS, LONGEST_PERIOD_MS);
  if (typeof field.value === 'string') {
    const periodMs = read(field);
    return periodMs === undefined ? undefined : { minMs: periodMs, maxMs: periodMs };
  }
  if (!hasShape(field, { fields: ['min', 'max'] }, 'a duration, or {min, max}')) return undefined;
  const minMs = readOr(child(field, 'min'), read, DEFAULT_PERIOD.minMs);
  const maxMs = readOr(child(field, 'max'), read, Math.max(minMs, DEFAULT_PERIOD.maxMs));
  return minMs <= maxMs ? { minMs, maxMs } : invalid(field, 'has a "min" above its "max"; write the smaller one first');
}

function readPaths(field: Field): readonly PathMapping[] | undefined {
  return readList(field, MAX_MAPPINGS, (each) => {
    if (!hasShape(each, { fields: ['local', 'remote'] }, 'a shared folder, {local, remote}')) return undefined;
    const local = readRequired(child(each, 'local'), readRemotePath, undefined);
    const remote = readRequired(child(each, 'remote'), readRemotePath, undefined);
    return local === undefined || remote === undefined ? undefined : { local, remote };
  });
}
