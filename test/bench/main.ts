import { containers } from './containers.js';
import { elastic } from './elastic.js';
import { footprint } from './footprint.js';
import { kueue } from './kueue.js';
import { latency } from './latency.js';
import { logs } from './logs.js';
import { mirror } from './mirror.js';
import { overhead } from './overhead.js';
import { planning } from './plan.js';
import { policy } from './policy.js';
import { scale } from './scale.js';
import { throughput } from './throughput.js';

/** A bench takes its flags and returns its figures; its progress goes to stderr. */
const BENCHES: Readonly<Record<string, (args: string[]) => Promise<object>>> = {
  containers,
  elastic,
  footprint,
  kueue,
  latency,
  logs,
  mirror,
  overhead,
  plan: planning,
  policy,
  scale,
  throughput,
};

const [name = '', ...args] = process.argv.slice(2);
const bench = BENCHES[name];
if (bench === undefined) {
  console.error(`usage: npm run -s bench -- ${Object.keys(BENCHES).join('|')} [flags]`);
  process.exitCode = 64;
} else {
  const figures = await bench(args);
  console.log(JSON.stringify({ bench: name, ...figures }));
}
