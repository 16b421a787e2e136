import type { Refusal } from '../errors.js';
import { refusalOf } from '../job-spec/findings.js';
import { readYaml } from '../job-spec/yaml.js';
import type { PoolSpec } from '../pool.js';
import { type ParseOptions, parsePools } from './parse.js';

/** The pools in a YAML or JSON document; problems carry line and column. Loads the YAML library. */
export function parsePoolsText(
  text: string,
  { others }: Pick<ParseOptions, 'others'> = {},
): readonly PoolSpec[] | Refusal {
  const { input, findings, locate } = readYaml(text);
  return findings.length > 0 ? refusalOf(findings) : parsePools(input, { locate, ...(others ? { others } : {}) });
}
