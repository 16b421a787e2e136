import type { RegistryAuth, SecretGrant, StartOrder } from '../messages.js';
import * as field from './fields.js';
import type { WireSecret, WireStart } from './generated.js';

/** The part of an order that must not be shown: no violation found here quotes a value. */
export function secretsToWire(
  secrets: readonly SecretGrant[] | undefined,
  registryLogin: RegistryAuth | undefined,
): Pick<WireStart, 'secrets' | 'registryLogin'> {
  return {
    ...(secrets === undefined ? {} : { secrets: secrets.map(secretToWire) }),
    ...(registryLogin === undefined ? {} : { registryLogin }),
  };
}

export function secretsFromWire(start: WireStart, where: string): Pick<StartOrder, 'secrets' | 'registryAuth'> {
  const { secrets, registryLogin } = start;
  return {
    ...(secrets?.length ? { secrets: field.each(secrets, secretFromWire, `${where}.secrets`) } : {}),
    ...(registryLogin
      ? { registryAuth: { username: registryLogin.username ?? '', password: registryLogin.password ?? '' } }
      : {}),
  };
}

function secretToWire({ name, env = '', file = '', value }: SecretGrant): WireSecret {
  return { name, env, file, value: value ?? new Uint8Array(0), isMissing: value === null };
}

function secretFromWire({ name, env, file, value, isMissing }: WireSecret, where: string): SecretGrant {
  return {
    name: field.filled(name, `${where}.name`),
    ...(env ? { env } : {}),
    ...(file ? { file } : {}),
    value: isMissing ? null : new Uint8Array(value ?? []),
  };
}
