import { AwsClient } from 'aws4fetch';
import { XMLParser } from 'fast-xml-parser';
import type { Clock } from '../../../../shared/clock.js';
import { isRecord } from '../../../../shared/job-spec/findings.js';
import { ProviderError } from '../../provider.js';
import { type CloudWords, faultOf, faultOfStatus } from '../faults.js';
import { exchange, type HttpAnswer, isSuccess } from '../http.js';
import type { AwsKeys } from './ec2-credentials.js';
import { EC2_FAULTS } from './ec2-faults.js';

/** Parameters of an action: lists by their position, `SecurityGroupId.1`, as the Query API has it. */
export type Parameters = Readonly<Record<string, string | undefined>>;

export interface QueryOptions {
  readonly endpoint: string;
  readonly region: string;
  readonly keys: (signal: AbortSignal) => Promise<AwsKeys>;
  readonly settings: Readonly<Record<string, unknown>>;
  readonly clock: Clock;
}

const VERSION = '2016-11-15';
const THROTTLED = 503;
/** Lists of the answers, all of whose elements are called `item`. */
const PARSER = new XMLParser({ parseTagValue: false, isArray: (name) => name === 'item' || name === 'Error' });

/** Amazon's Query API: a signed form per action, answered in XML. */
export class Ec2Query {
  readonly #options: QueryOptions;

  constructor(options: QueryOptions) {
    this.#options = options;
  }

  /** The answer's root element. Throws what the error code means. */
  async ask(action: string, parameters: Parameters, signal: AbortSignal): Promise<Element> {
    const answer = await this.#send(action, parameters, signal);
    if (isSuccess(answer.status)) return new Element(rootOf(answer));
    const words = wordsOf(answer);
    throw new Ec2Error(
      words,
      faultOf(EC2_FAULTS[words.code] ?? faultOfStatus(answer.status), words, this.#options.settings),
    );
  }

  async #send(action: string, parameters: Parameters, signal: AbortSignal): Promise<HttpAnswer> {
    const { endpoint, region, keys, clock } = this.#options;
    const form = new URLSearchParams({ Action: action, Version: VERSION });
    for (const [name, value] of Object.entries(parameters)) if (value !== undefined) form.set(name, value);
    const body = form.toString();
    const signer = new AwsClient({ ...(await keys(signal)), region, service: 'ec2', retries: 0 });
    const headers = { 'content-type': 'application/x-www-form-urlencoded; charset=utf-8' };
    const signed = await signer.sign(`${endpoint}/`, { method: 'POST', headers, body });
    const order = {
      method: 'POST',
      url: signed.url,
      headers: Object.fromEntries(signed.headers),
      body,
      signal,
    } as const;
    // Every action that we use is idempotent, by its nature or by its token.
    return exchange({ ...order, clock, harmless: [THROTTLED] });
  }
}

/** A refusal with the code that it came with. */
export class Ec2Error extends ProviderError {
  readonly code: string;

  constructor({ code }: CloudWords, error: ProviderError) {
    super(error.fault, error.message);
    this.code = code;
  }
}

/** An element of an answer, with readers that take nothing for granted. */
export class Element {
  readonly #value: unknown;

  constructor(value: unknown) {
    this.#value = value;
  }

  text(...path: readonly string[]): string | undefined {
    const value = this.#at(path);
    return typeof value === 'string' ? value : undefined;
  }

  items(...path: readonly string[]): readonly Element[] {
    const value = this.#at([...path, 'item']);
    return Array.isArray(value) ? value.map((each) => new Element(each)) : [];
  }

  #at(path: readonly string[]): unknown {
    let value = this.#value;
    for (const name of path) value = isRecord(value) ? value[name] : undefined;
    return value;
  }
}

function rootOf(answer: HttpAnswer): unknown {
  const document = parse(answer);
  const [root] = Object.entries(document).filter(([name]) => !name.startsWith('?'));
  return root?.[1];
}

function parse({ text, status }: HttpAnswer): Readonly<Record<string, unknown>> {
  try {
    const document: unknown = PARSER.parse(text, true);
    if (isRecord(document)) return document;
  } catch (cause) {
    throw new ProviderError('unavailable', `the EC2 endpoint answers HTTP ${status} with what is no XML`, cause);
  }
  throw new ProviderError('unavailable', `the EC2 endpoint answers HTTP ${status} with nothing`);
}

function wordsOf(answer: HttpAnswer): CloudWords {
  const { Response } = parse(answer);
  const errors = isRecord(Response) && isRecord(Response.Errors) ? Response.Errors.Error : undefined;
  const first: unknown = Array.isArray(errors) ? errors[0] : undefined;
  if (!isRecord(first)) return { code: `HTTP ${answer.status}`, message: '' };
  return { code: String(first.Code), message: String(first.Message ?? '') };
}
