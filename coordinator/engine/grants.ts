import type { StepSpec } from '../../shared/job-spec/spec.js';
import { registrySecretOf } from '../../shared/secrets.js';
import type { RegistryAuth, StartOrder } from '../../shared/wire/messages.js';

/** Where the values of secrets are; undefined for one that does not exist. */
export interface SecretSource {
  valueOf(namespace: string, name: string): Uint8Array | undefined;
}

export const NO_SECRETS: SecretSource = { valueOf: () => undefined };

/** The part of an order that is for its attempt's agent alone. Made for the wire; nobody keeps it. */
export type Grants = Pick<StartOrder, 'secrets' | 'registryAuth'>;

/** What a task of the step is given of its namespace's secrets. One that was removed meanwhile goes without a value. */
export function grantsOf(source: SecretSource, namespace: string, { secrets, image }: StepSpec): Grants {
  const granted = secrets?.map((use) => ({ ...use, value: source.valueOf(namespace, use.name) ?? null }));
  const registryAuth = image === null ? undefined : loginOf(source.valueOf(namespace, registrySecretOf(image)));
  return {
    ...(granted === undefined ? {} : { secrets: granted }),
    ...(registryAuth === undefined ? {} : { registryAuth }),
  };
}

/** `USER:PASSWORD`, perhaps with a line's end. */
function loginOf(value: Uint8Array | undefined): RegistryAuth | undefined {
  const [, username, password] = /^([^:\n]+):(.*)\n?$/.exec(Buffer.from(value ?? []).toString('utf8')) ?? [];
  return username === undefined || password === undefined ? undefined : { username, password };
}
