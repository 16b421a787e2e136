import { isRefusal, type Refusal, refuse } from '../../shared/errors.js';
import { parsePool } from '../../shared/pool-spec/parse.js';
import { didYouMean } from '../../shared/suggest.js';
import type { Instance } from '../model/instance.js';
import { CONFIGURED } from '../model/pool.js';
import type { ClusterView } from '../model/state.js';
import { type PoolView, presentMachine, presentPool } from './present-pool.js';
import type { Service } from './service.js';

/** All pools, in the order of their definition. */
export function listPools({ engine, machines, clock }: Service): Promise<PoolView[]> {
  return engine.read((view) => {
    const now = clock.now();
    return [...view.pools.values()].map((pool) => {
      const { name } = pool.spec;
      return presentPool(pool, machinesOf(view, name), { trouble: machines.troubleOf(name), now });
    });
  });
}

/** One pool with its machines. */
export function showPool({ engine, machines, clock }: Service, name: string): Promise<PoolView | Refusal> {
  return engine.read((view) => {
    const pool = view.pools.get(name);
    if (!pool) return noSuchPool(view, name);
    const now = clock.now();
    const own = machinesOf(view, name);
    const look = { trouble: machines.troubleOf(name), now };
    return { ...presentPool(pool, own, look), machines: own.map((machine) => presentMachine(machine, now)) };
  });
}

/** Makes a pool, or has it otherwise from now on; its machines stay. */
export async function definePool(
  service: Service,
  name: string,
  given: { readonly input: unknown; readonly by: string },
): Promise<PoolView | Refusal> {
  const known = await service.engine.read((view) => [...view.pools.values()]);
  const configured = known.find(({ spec }) => spec.name === name)?.definedBy === CONFIGURED;
  if (configured) return belongsToConfiguration(name);
  const spec = parsePool(given.input, { name, others: known.map((pool) => pool.spec) });
  if (isRefusal(spec)) return spec;
  const refusal = await service.machines.refuseProvider(spec);
  if (refusal) return refusal;
  return changePool(service, name, { type: 'definePool', spec, by: given.by });
}

export async function removePool(service: Service, name: string, by: string): Promise<Refusal | undefined> {
  const configured = await service.engine.read((view) => view.pools.get(name)?.definedBy === CONFIGURED);
  if (configured) return belongsToConfiguration(name);
  const reply = await service.engine.handle({ type: 'removePool', pool: name, by });
  return isRefusal(reply) ? reply : undefined;
}

type PoolChange = Extract<
  Parameters<Service['engine']['handle']>[0],
  { readonly type: 'definePool' | 'enablePool' | 'disablePool' | 'cordonPool' | 'scalePool' }
>;

export async function changePool(service: Service, name: string, input: PoolChange): Promise<PoolView | Refusal> {
  const reply = await service.engine.handle(input);
  return isRefusal(reply) ? reply : showPool(service, name);
}

function machinesOf(view: ClusterView, pool: string): Instance[] {
  return [...view.instances.values()].filter((instance) => instance.pool === pool);
}

function noSuchPool(view: ClusterView, name: string): Refusal {
  const hint = didYouMean(name, view.pools.keys()).replace(/^; /, '');
  return refuse('not-found', `there is no pool ${name}`, hint === '' ? {} : { hint });
}

/** At the next start it would be again what the file says. */
function belongsToConfiguration(name: string): Refusal {
  return refuse('conflict', `pool ${name} is defined by the coordinator's --pools file`, {
    hint: 'change it there and restart the coordinator; enable, disable, cordon and scale work as ever',
  });
}
