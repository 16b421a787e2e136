import { Unfit } from '../../../shared/config.js';
import { isRecord } from '../../../shared/job-spec/findings.js';
import { shown } from '../../../shared/units.js';
import type { AgentSource } from '../bootstrap.js';
import { type ProviderValues, textSetting, textsSetting } from './provider-settings.js';

type Parse<Value> = (given: unknown) => Value | Unfit;

/** What clouds call things: nothing that would have to be escaped in a path, a query or a document. */
const PLAIN = /^[\w./:@+=,-]{1,512}$/;

/** @param what with its article, as in "a region such as eu-west-1" */
export function plainSetting(what: string, pattern = PLAIN): Parse<string> {
  return (given) =>
    typeof given === 'string' && pattern.test(given) ? given : new Unfit(`${shown(given)} is not ${what}`);
}

/** A part of a path: no slash in it. */
export function nameSetting(what: string): Parse<string> {
  return plainSetting(what, /^[\w.@+=,-]{1,256}$/);
}

export function plainsSetting(what: string): Parse<readonly string[]> {
  return (given) => {
    const all = textsSetting(given);
    const strange = all instanceof Unfit ? undefined : all.find((each) => !PLAIN.test(each));
    return strange === undefined ? all : new Unfit(`${shown(strange)} is not ${what}`);
  };
}

/** An address, without a slash at its end. */
export function addressSetting(given: unknown): string | Unfit {
  const isAddress = typeof given === 'string' && /^https?:\/\//.test(given) && URL.canParse(given);
  return isAddress ? given.replace(/\/+$/, '') : new Unfit(`${shown(given)} is not an address; write https://HOST`);
}

export function flagSetting(given: unknown): boolean | Unfit {
  return typeof given === 'boolean' ? given : new Unfit(`${shown(given)} is neither true nor false`);
}

/** Settings that every cloud has: how an agent comes onto its machines. */
export const AGENT_SETTINGS = {
  agentPackage: { parse: parsePackage },
  setup: { parse: textsSetting },
} as const;

export function agentSourceOf(values: ProviderValues<typeof AGENT_SETTINGS>): AgentSource {
  return { package: values.agentPackage ?? null, setup: values.setup ?? [] };
}

function parsePackage(given: unknown): NonNullable<AgentSource['package']> | Unfit {
  const form = 'write { url: "https://HOST/berth.tgz", sha256: "…" }';
  if (!isRecord(given)) return new Unfit(`${shown(given)} is not a package; ${form}`);
  const strange = Object.keys(given).find((name) => name !== 'url' && name !== 'sha256');
  if (strange !== undefined) return new Unfit(`it has no "${strange}"; ${form}`);
  const url = addressSetting(given.url);
  if (url instanceof Unfit) return new Unfit(`url: ${url.message}`);
  const { sha256 } = given;
  if (typeof sha256 === 'string' && /^[0-9a-f]{64}$/.test(sha256)) return { url, sha256 };
  return new Unfit(`sha256: ${shown(sha256)} is not what sha256sum prints: 64 of 0-9 and a-f`);
}

export const CREDENTIALS_SETTING = { credentials: { parse: textSetting } } as const;
