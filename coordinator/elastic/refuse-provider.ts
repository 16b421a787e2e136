import type { Refusal } from '../../shared/errors.js';
import { type Finding, refusalOf } from '../../shared/job-spec/findings.js';
import type { PoolSpec } from '../../shared/pool.js';
import { type InstanceProvider, ProviderError, SettingsError } from './provider.js';

/** Why a pool cannot have the provider that `make` makes of its settings; undefined when it can. */
export async function refuseProvider(
  { provider: { kind }, onIdle }: PoolSpec,
  make: () => Promise<InstanceProvider>,
): Promise<Refusal | undefined> {
  try {
    const { traits } = await make();
    if (traits.canSuspend || onIdle === 'terminate') return undefined;
    const message = `provider ${kind} cannot suspend machines; write onIdle: terminate`;
    return refusalOf([{ kind: 'invalid', path: ['onIdle'], message }]);
  } catch (error) {
    if (!(error instanceof ProviderError)) throw error;
    return refusalOf(findingsOf(error));
  }
}

function findingsOf(error: ProviderError): readonly Finding[] {
  if (!(error instanceof SettingsError)) return [{ kind: 'invalid', path: ['provider'], message: error.message }];
  return error.problems.map(({ field, message }) => ({ kind: 'invalid', path: ['provider', field], message }));
}
