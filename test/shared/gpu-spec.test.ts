import t from 'tap';
import { isRefusal } from '../../shared/errors.js';
import { specInputFromFlags } from '../../shared/job-spec/flags.js';
import { parseJobSpec } from '../../shared/job-spec/parse.js';
import type { GpuSpec } from '../../shared/job-spec/spec.js';
import { type GpuDemand, isEligibleGpu } from '../../shared/resources.js';
import { gpus } from '../kit/builders.js';

/** What a step that asks for such GPUs gets, or the first complaint. */
function gpusOf(gpus: unknown): GpuSpec | null | string {
  return read({ command: ['a'], resources: { gpus } });
}

function read(input: object): GpuSpec | null | string {
  const spec = parseJobSpec(input);
  return isRefusal(spec) ? (spec.detail ?? '') : (spec.steps[0]?.resources.gpus ?? null);
}

const WHOLE = { count: 1, model: null, minMemoryMiB: null };

t.test('a model is a text when it is one, and a sorted list of which any will do when there are several', (t) => {
  const table: [unknown, GpuSpec['model']][] = [
    ['a100', 'a100'],
    [['a100'], 'a100'],
    [
      ['h100', 'a100', 'h100'],
      ['a100', 'h100'],
    ],
  ];
  for (const [model, read] of table) t.strictSame(gpusOf({ count: 1, model }), { ...WHOLE, model: read });
  const flags = { gpus: '1', gpuModel: ['h100', 'a100'], command: ['a'] };
  t.strictSame(read(specInputFromFlags(flags)), { ...WHOLE, model: ['a100', 'h100'] });
  t.match(gpusOf({ count: 1, model: new Array(33).fill('a') }), /model: has 33 entries; at most 32 are allowed/);
  t.end();
});

t.test('a device is eligible if its name has any of the models in it, in whatever case', (t) => {
  const [device] = gpus(1, { model: 'NVIDIA H100 PCIe' });
  const table: [GpuDemand['model'], boolean][] = [
    ['h100', true],
    ['a100', false],
    [['a100', 'H100'], true],
    [['a100', 'l40'], false],
  ];
  for (const [model, isEligible] of table)
    t.equal(device && isEligibleGpu(device, { count: 1, ...(model ? { model } : {}) }), isEligible, `${model}`);
  t.end();
});

t.test('a profile asks for slices, whole, in lower case', (t) => {
  t.strictSame(gpusOf({ mig: '1g.5gb' }), { ...WHOLE, mig: '1g.5gb' });
  t.strictSame(gpusOf({ mig: '1G.10GB+me', count: 2, model: 'h100' }), {
    ...{ count: 2, model: 'h100', minMemoryMiB: null },
    mig: '1g.10gb+me',
  });
  t.strictSame(read(specInputFromFlags({ gpuMig: '2g.10gb', command: ['a'] })), { ...WHOLE, mig: '2g.10gb' });
  t.strictSame(read(specInputFromFlags({ gpuMig: '2g.10gb', gpus: '3', command: ['a'] })), {
    ...{ ...WHOLE, count: 3 },
    mig: '2g.10gb',
  });
  t.match(gpusOf({ mig: '1g.5gb', minMemory: '20GiB' }), /minMemory: is more than a slice 1g\.5gb has; remove it or/);
  t.end();
});
