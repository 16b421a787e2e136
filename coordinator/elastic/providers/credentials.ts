import { ProviderError, type ProviderWorld } from '../provider.js';

/** The coordinator's secret of this name. Throws `credentials` when there is none. */
export function secretOf(world: ProviderWorld, name: string): string {
  const value = world.secret(name);
  if (value !== undefined) return value;
  const remedy = `store it: berth secrets set ${name} < FILE`;
  throw new ProviderError('credentials', `credentials "${name}": there is no such secret; ${remedy}`);
}

/** All of these variables, or undefined when one is not set. */
export function variablesOf<Name extends string>(
  { environment }: ProviderWorld,
  names: readonly Name[],
): Readonly<Record<Name, string>> | undefined {
  const entries = names.map((name) => [name, environment[name] ?? ''] as const);
  return entries.some(([, value]) => value === '') ? undefined : (Object.fromEntries(entries) as Record<Name, string>);
}
