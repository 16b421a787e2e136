import type { Clock } from '../../../../shared/clock.js';
import { ProviderError, type ProviderWorld } from '../../provider.js';
import { Bearer, type Grant } from '../bearer.js';
import { secretOf, variablesOf } from '../credentials.js';
import { exchange, isSuccess, jsonOf } from '../http.js';

export interface AwsKeys {
  readonly accessKeyId: string;
  readonly secretAccessKey: string;
  readonly sessionToken?: string;
}

const METADATA_ADDRESS = 'http://169.254.169.254';
const METADATA_ANSWER_MS = 2_000;
const NO_KEYS =
  'there are no AWS keys: name a secret in "credentials", set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or give this machine an instance profile';

/**
 * Where the keys for requests come from: the secret that is named, the environment, or the profile of the machine that
 * the coordinator itself runs on. Asked for each request, so that a changed secret counts at once.
 */
export function awsKeys(
  world: ProviderWorld,
  secretName: string | undefined,
): (signal: AbortSignal) => Promise<AwsKeys> {
  if (secretName !== undefined) return async () => parseKeys(secretOf(world, secretName), secretName);
  const given = variablesOf(world, ['AWS_ACCESS_KEY_ID', 'AWS_SECRET_ACCESS_KEY']);
  if (given !== undefined) {
    const sessionToken = world.environment.AWS_SESSION_TOKEN;
    const keys = { accessKeyId: given.AWS_ACCESS_KEY_ID, secretAccessKey: given.AWS_SECRET_ACCESS_KEY };
    return async () => (sessionToken ? { ...keys, sessionToken } : keys);
  }
  const profile = new Bearer(world.clock, (signal) => keysOfProfile(world, signal));
  return (signal) => profile.get(signal);
}

/** The text that Amazon's own tools keep in ~/.aws/credentials. */
function parseKeys(text: string, secretName: string): AwsKeys {
  const keyOf = (key: string): string | undefined => new RegExp(`^\\s*${key}\\s*=\\s*(\\S+)\\s*$`, 'm').exec(text)?.[1];
  const accessKeyId = keyOf('aws_access_key_id');
  const secretAccessKey = keyOf('aws_secret_access_key');
  if (accessKeyId === undefined || secretAccessKey === undefined) {
    const remedy = 'it has to have the lines aws_access_key_id = … and aws_secret_access_key = …';
    throw new ProviderError('credentials', `credentials "${secretName}": ${remedy}`);
  }
  const sessionToken = keyOf('aws_session_token');
  return { accessKeyId, secretAccessKey, ...(sessionToken === undefined ? {} : { sessionToken }) };
}

/** From the instance metadata service, version 2: a session first, so that no proxy can be made to ask for the keys. */
async function keysOfProfile({ environment, clock }: ProviderWorld, signal: AbortSignal): Promise<Grant<AwsKeys>> {
  const root = `${environment.AWS_EC2_METADATA_SERVICE_ENDPOINT ?? METADATA_ADDRESS}/latest`;
  const ask = async (method: 'GET' | 'PUT', path: string, headers: Readonly<Record<string, string>>) => {
    const order = { method, url: `${root}${path}`, headers, clock, signal, answerMs: METADATA_ANSWER_MS } as const;
    const answer = await exchange(order).catch((cause: unknown) => {
      throw new ProviderError('credentials', NO_KEYS, cause);
    });
    if (isSuccess(answer.status)) return answer;
    throw new ProviderError('credentials', NO_KEYS);
  };
  const { text: session } = await ask('PUT', '/api/token', { 'x-aws-ec2-metadata-token-ttl-seconds': '300' });
  const headers = { 'x-aws-ec2-metadata-token': session };
  const { text: role } = await ask('GET', '/meta-data/iam/security-credentials/', headers);
  const answer = await ask('GET', `/meta-data/iam/security-credentials/${encodeURIComponent(role.trim())}`, headers);
  return grantOf(jsonOf(answer, 'the instance metadata service'), clock);
}

function grantOf(document: unknown, clock: Clock): Grant<AwsKeys> {
  const { AccessKeyId, SecretAccessKey, Token, Expiration } = document as Readonly<Record<string, unknown>>;
  if (typeof AccessKeyId !== 'string' || typeof SecretAccessKey !== 'string' || typeof Token !== 'string') {
    throw new ProviderError('credentials', NO_KEYS);
  }
  const lifeMs = Date.parse(String(Expiration)) - clock.now();
  return {
    value: { accessKeyId: AccessKeyId, secretAccessKey: SecretAccessKey, sessionToken: Token },
    lifeMs: Number.isFinite(lifeMs) ? lifeMs : 0,
  };
}
