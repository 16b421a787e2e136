import { ProviderError, type ProviderWorld } from '../../provider.js';
import { secretOf } from '../credentials.js';
import type { CloudWords, FaultRow } from '../faults.js';
import { type Json, JsonCloud, textOf } from '../json-cloud.js';

export interface ImOptions {
  readonly secretName: string;
  readonly world: ProviderWorld;
  readonly settings: Json;
}

/** The Infrastructure Manager's REST interface. Who asks, and with which clouds' credentials, is in each request. */
export function imCloud({ secretName, world, settings }: ImOptions): JsonCloud {
  return new JsonCloud({
    name: 'the Infrastructure Manager',
    authorize: async () => ({ authorization: authorizationOf(secretOf(world, secretName), secretName) }),
    forget: () => {},
    wordsOf,
    rowOf,
    settings,
    clock: world.clock,
  });
}

/** An authorization file on one line: its lines with backslash and n between, as the interface wants it. */
function authorizationOf(text: string, secretName: string): string {
  const lines = text
    .split('\n')
    .map((line) => line.trim())
    .filter((line) => line !== '' && !line.startsWith('#'));
  if (lines.some((line) => /type\s*=\s*InfrastructureManager/i.test(line))) return lines.join('\\n');
  const remedy =
    'it has to be an authorization file with a line "type = InfrastructureManager; username = …; password = …"';
  throw new ProviderError('credentials', `credentials "${secretName}": ${remedy}`);
}

function wordsOf(document: Json, status: number): CloudWords {
  return { code: `HTTP ${status}`, message: textOf(document, 'message') ?? '' };
}

/**
 * Whatever goes wrong at a cloud comes as HTTP 400 with that cloud's own words, so that only the words tell. What they
 * do not tell may have been anything, and is tried again.
 */
const WORDS: readonly (readonly [RegExp, FaultRow])[] = [
  [/quota|limit ?exceeded|exceeds? (the )?limit/i, { fault: 'quota' }],
  [
    /no valid host|insufficient\w*capacity|pool_exhausted|allocation ?failed|sku ?not ?available|not enough (resources|hosts)/i,
    { fault: 'capacity' },
  ],
  [
    /auth ?failure|unauthori[sz]ed|(invalid|incorrect|no correct|wrong) (auth|credential|user|password)|authentication/i,
    { fault: 'credentials', remedy: "check the lines of the authorization for this image's cloud" },
  ],
  [
    /image|compatible|no cloud provider|all machines could not/i,
    { fault: 'configuration', setting: 'image', remedy: 'name one that a cloud of the authorization has' },
  ],
  [/instance.?type|flavor|machine.?type/i, { fault: 'configuration', setting: 'instanceType' }],
  [/network|subnet/i, { fault: 'configuration', setting: 'network' }],
  [/radl|syntax|pars(e|ing)/i, { fault: 'configuration' }],
];

function rowOf({ message }: CloudWords, status: number): FaultRow | undefined {
  if (status === 401) return { fault: 'credentials', remedy: 'check the line "type = InfrastructureManager"' };
  if (status !== 400) return undefined;
  return WORDS.find(([pattern]) => pattern.test(message))?.[1] ?? { fault: 'unavailable' };
}
