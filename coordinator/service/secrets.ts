import Type, { type Static } from 'typebox';
import { type Refusal, refuse } from '../../shared/errors.js';
import { NAME } from '../../shared/ids.js';
import { SECRET_LIMITS, SECRET_NAME } from '../../shared/secrets.js';
import { shown } from '../../shared/units.js';
import { instant, time } from './schemas.js';
import type { SecretName } from './secret-keeper.js';
import type { Service } from './service.js';

/** A secret as it is shown: never with its value. */
export const secretSchema = Type.Object({
  namespace: Type.String(),
  name: Type.String(),
  setAt: time('When it was set last.'),
  setBy: Type.String(),
});
export type SecretView = Static<typeof secretSchema>;

export function listSecrets({ secrets }: Service): SecretView[] {
  return secrets.list().map((entry) => ({ ...entry, setAt: instant(entry.setAt) }));
}

/** Makes or replaces a secret; tasks and sites that wait for it may go on. What runs keeps the value that it was given. */
export async function setSecret(
  service: Service,
  secret: SecretName,
  given: { readonly value: Uint8Array; readonly by: string },
): Promise<Refusal | undefined> {
  const refusal = refuseSecret(secret, given.value);
  if (refusal) return refusal;
  await service.secrets.set({ ...secret, ...given });
  service.remotes.secretSet();
  await service.engine.handle({ type: 'limitsChanged' });
  return undefined;
}

export async function removeSecret({ secrets }: Service, secret: SecretName): Promise<Refusal | undefined> {
  if (await secrets.remove(secret)) return undefined;
  return refuse('not-found', `there is no secret ${shown(secret.name)} in namespace ${secret.namespace}`, {
    hint: '`berth secrets ls` lists them',
  });
}

export function rotateSecretsKey({ secrets }: Service): Promise<number> {
  return secrets.rotateKey();
}

function refuseSecret({ namespace, name }: SecretName, value: Uint8Array): Refusal | undefined {
  if (!NAME.test(namespace)) return refuse('invalid-request', `${shown(namespace)} is not the name of a namespace`);
  if (!SECRET_NAME.test(name)) {
    return refuse('invalid-request', `${shown(name)} is not the name of a secret`, {
      hint: 'use letters, digits, ".", "_", ":", "-"; 128 at most',
    });
  }
  if (value.length === 0) return refuse('invalid-request', 'the value is empty');
  if (value.length <= SECRET_LIMITS.maxValueBytes) return undefined;
  return refuse(
    'payload-too-large',
    `the value has ${value.length} bytes; at most ${SECRET_LIMITS.maxValueBytes} are kept`,
  );
}
