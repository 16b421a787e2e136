import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import fc from 'fast-check';
import t from 'tap';
import { parseDeviceList } from '../../agent/discovery/gpu/device-list.js';
import { devicesOf, GONE, knownAfter } from '../../agent/discovery/gpu/known-gpus.js';
import { profileOf } from '../../agent/discovery/gpu/mig-profile.js';
import { parseNvidiaPage } from '../../agent/discovery/gpu/nvidia-page.js';
import { readCelsius, readMiB, readPercent, readWatts } from '../../agent/discovery/gpu/quantity.js';
import { type Decisions, HEALTHY_LOOKS, Quarantine } from '../../agent/discovery/gpu/quarantine.js';
import { gpus } from '../kit/builders.js';
import { aGpu, aPage, aSlice, uuidOf } from '../kit/nvidia-pages.js';

const parsed = (text: string) => {
  const page = parseNvidiaPage(text);
  if (page === null) throw new Error('no page');
  return page;
};
const onlyGpu = (more: string) => {
  const [gpu] = parsed(aPage({ gpus: [aGpu({ more })] })).gpus;
  if (gpu === undefined) throw new Error('no GPU');
  return gpu;
};

t.test('a page tells what each GPU is and does', async (t) => {
  t.strictSame(parsed(aPage()), {
    driverVersion: '571.20',
    cudaVersion: '12.9',
    gpus: [
      {
        position: 0,
        uuid: uuidOf(0),
        model: 'NVIDIA Test 40GB',
        busId: '00000000:01:00.0',
        memoryMiB: 40_960,
        memoryUsedMiB: 1_000,
        computeMode: 'Default',
        isMig: false,
        migDevices: [],
        utilizationPercent: 35,
        temperatureC: 41,
        powerWatts: 123.45,
        ecc: { volatileUncorrectable: 0, aggregateUncorrectable: 3 },
        processes: [{ pid: 4_000, name: 'python & co', memoryMiB: 900 }],
        faults: [],
      },
    ],
  });
  const several = parsed(aPage({ gpus: [0, 1, 2].map((number) => aGpu({ number })) }));
  t.strictSame(
    several.gpus.map(({ position, uuid }) => [position, uuid]),
    [0, 1, 2].map((number) => [number, uuidOf(number)]),
  );
  t.strictSame(parsed(aPage({ gpus: [] })).gpus, []);
});

t.test('power is read from every schema, and what is not told is null', async (t) => {
  const watts = (more: string) => {
    const bare = aGpu({ more }).replace(/<gpu_power_readings><power_draw>.*<\/gpu_power_readings>/, '');
    return parsed(aPage({ gpus: [bare] })).gpus[0]?.powerWatts;
  };
  t.equal(watts('<power_readings><power_draw>26.78 W</power_draw></power_readings>'), 26.78);
  t.equal(watts('<gpu_power_readings><average_power_draw>9 W</average_power_draw></gpu_power_readings>'), 9);
  t.equal(watts('<gpu_power_readings><instant_power_draw>[N/A]</instant_power_draw></gpu_power_readings>'), null);
  const silent = onlyGpu(
    `<utilization><gpu_util>[Not Supported]</gpu_util></utilization><temperature><gpu_temp>N/A</gpu_temp></temperature>
     <fb_memory_usage><total>[N/A]</total></fb_memory_usage><compute_mode></compute_mode>
     <ecc_errors>N/A</ecc_errors><remapped_rows>N/A</remapped_rows><processes>N/A</processes>`,
  );
  t.match(silent, {
    ...{ utilizationPercent: null, temperatureC: null, memoryMiB: null, memoryUsedMiB: null, computeMode: null },
    ...{ ecc: { volatileUncorrectable: null, aggregateUncorrectable: null }, processes: [], faults: [] },
  });
  const [bare] = parsed('<nvidia_smi_log><gpu/></nvidia_smi_log>').gpus;
  t.match(bare, { uuid: 'GPU-at-0', model: 'unknown', faults: ['its UUID cannot be read'] });
});

t.test('amounts are read in whatever unit they come', async (t) => {
  t.strictSame(['15360 MiB', '15 GiB', '16106127360 B', '15360', '2048 KiB', '1 TiB'].map(readMiB), [
    ...[15_360, 15_360, 15_360, 15_360, 2, 1_048_576],
  ]);
  t.strictSame(['0.5 kW', '500 mW', '70'].map(readWatts), [500, 0.5, 70]);
  t.strictSame(['40 C', '104 F', '313.15 K', '-5 C'].map(readCelsius), [40, 40, 40, -5]);
  t.strictSame(['7 %', '7'].map(readPercent), [7, 7]);
  for (const text of [null, '', 'many', '3 bananas', '-1 MiB', '1e9 MiB', 'NaN'])
    t.equal(readMiB(text), null, `${text}`);
});

t.test('a page that is no whole page is none, whatever it is', async (t) => {
  const page = aPage();
  for (const text of [
    '',
    'NVIDIA-SMI has failed',
    '<html></html>',
    '<nvidia_smi_log>',
    '</nvidia_smi_log>\n<nvidia_smi_log>',
  ])
    t.equal(parseNvidiaPage(text), null, JSON.stringify(text));
  for (const at of [0.1, 0.5, 0.9, 0.99]) {
    t.equal(parseNvidiaPage(page.slice(0, page.length * at)), null, `cut after ${at}`);
  }
  t.equal(parseNvidiaPage(page.replace('</fb_memory_usage>', '</fb_memory>')), null, 'elements that do not close');
  const noisy = `WARNING: infoROM is corrupted at gpu 0000:01:00.0\n${page}Unable to determine the device handle\n`;
  t.strictSame(parseNvidiaPage(noisy), parseNvidiaPage(page), 'text around the page is passed over');
});

t.test('damage makes the parser neither throw nor name no device', async () => {
  const page = aPage({ gpus: [aGpu(), aGpu({ number: 1, slices: [aSlice({ position: 0, instance: 1 })] })] });
  const damage = fc.record({ from: fc.nat(page.length), length: fc.nat(200), by: fc.string({ maxLength: 40 }) });
  fc.assert(
    fc.property(fc.array(damage, { maxLength: 4 }), (damages) => {
      let text = page;
      for (const { from, length, by } of damages) text = text.slice(0, from) + by + text.slice(from + length);
      const gpus = parseNvidiaPage(text)?.gpus ?? [];
      return gpus.every(
        ({ uuid, migDevices }) => uuid.startsWith('GPU-') && migDevices.every((slice) => slice.uuid !== ''),
      );
    }),
    { numRuns: 300, seed: 1 },
  );
});

const SICK: readonly (readonly [string, RegExp])[] = [
  ['<gpu_recovery_action>Reset</gpu_recovery_action>', /asks for: Reset/],
  ['<gpu_recovery_action>Drain and Reset</gpu_recovery_action>', /Drain and Reset/],
  ['<gpu_reset_status><reset_required>Yes</reset_required></gpu_reset_status>', /must be reset/],
  ['<remapped_rows><remapped_row_failure>Yes</remapped_row_failure></remapped_rows>', /could not be replaced/],
  ['<remapped_rows><remapped_row_pending>Yes</remapped_row_pending></remapped_rows>', /next reset/],
  ['<retired_pages><pending_blacklist>Yes</pending_blacklist></retired_pages>', /page is retired/],
  ['<ecc_errors><volatile><dram_uncorrectable>2</dram_uncorrectable></volatile></ecc_errors>', /errors.*: 2/],
  ['<ecc_errors><volatile><sram_uncorrectable_parity>1</sram_uncorrectable_parity></volatile></ecc_errors>', /: 1/],
  ['<ecc_errors><volatile><double_bit><total>4</total></double_bit></volatile></ecc_errors>', /: 4/],
  [
    '<ecc_errors><aggregate><sram_threshold_exceeded>Yes</sram_threshold_exceeded></aggregate></ecc_errors>',
    /too many/,
  ],
  ['<ecc_errors><unrepairable_memory>Yes</unrepairable_memory></ecc_errors>', /cannot be repaired/],
  ['<temperature><gpu_temp>[GPU requires reset]</gpu_temp></temperature>', /says: GPU requires reset/],
  ['<fb_memory_usage><total>GPU is lost</total></fb_memory_usage>', /GPU is lost/],
  ['<compute_mode>Prohibited</compute_mode>', /Prohibited/],
  ['<fabric><state>In Progress</state><status>N/A</status></fabric>', /not ready/],
  ['<fabric><state>Completed</state><status>Insufficient Resources</status></fabric>', /Insufficient Resources/],
];

t.test('what makes a GPU unfit is told, and what it has dealt with is not', async (t) => {
  for (const [more, fault] of SICK) t.match(onlyGpu(more).faults.join('; '), fault, more);
  for (const healthy of [
    '<gpu_recovery_action>None</gpu_recovery_action>',
    '<gpu_recovery_action>N/A</gpu_recovery_action>',
    '<ecc_errors><aggregate><dram_uncorrectable>9</dram_uncorrectable></aggregate></ecc_errors>',
    '<ecc_errors><volatile><dram_correctable>9</dram_correctable></volatile></ecc_errors>',
    '<remapped_rows><remapped_row_unc>3</remapped_row_unc></remapped_rows>',
    '<fabric><state>Completed</state><status>Success</status></fabric>',
    '<fabric><state>N/A</state><status>N/A</status></fabric>',
    '<brand_new_element><current>Yes</current></brand_new_element>',
  ]) {
    t.strictSame(onlyGpu(healthy).faults, [], healthy);
  }
});

t.test('a divided GPU is its slices, named by the list or else by their size', async (t) => {
  const slices = [
    aSlice({ position: 0, instance: 2, multiprocessors: 42, memory: '19968 MiB' }),
    aSlice({ position: 1, instance: 7, errors: 1 }),
  ];
  const text = aPage({ gpus: [aGpu(), aGpu({ number: 1, slices })] });
  const [whole, divided] = parsed(text).gpus;
  if (!whole || !divided) throw new Error('two GPUs');
  t.strictSame(devicesOf(whole, 0), [{ index: 0, uuid: uuidOf(0), model: 'NVIDIA Test 40GB', memoryMiB: 40_960 }]);
  t.strictSame(devicesOf(divided, 1), [
    {
      index: 2_020,
      uuid: `MIG-${uuidOf(1)}/2/0`,
      model: 'NVIDIA Test 40GB',
      memoryMiB: 19_968,
      mig: '3g.20gb',
    },
    {
      index: 2_070,
      uuid: `MIG-${uuidOf(1)}/7/0`,
      model: 'NVIDIA Test 40GB',
      memoryMiB: 4_864,
      mig: '1g.5gb',
      fault: 'uncorrectable memory errors since the driver was loaded: 1',
    },
  ]);
  const list = `GPU 0: NVIDIA Test 40GB (UUID: ${uuidOf(0)})
GPU 1: NVIDIA Test 40GB (UUID: ${uuidOf(1)})
  MIG 3g.20gb     Device  0: (UUID: MIG-aaaa-1)
  MIG 1g.5gb+me   Device  1: (UUID: MIG-aaaa-2)
`;
  const named = parseNvidiaPage(text, parseDeviceList(list))?.gpus[1]?.migDevices;
  t.strictSame(
    named?.map(({ uuid, profile }) => [uuid, profile]),
    [
      ['MIG-aaaa-1', '3g.20gb'],
      ['MIG-aaaa-2', '1g.5gb+me'],
    ],
  );
  const none = parsed(aPage({ gpus: [aGpu({ slices: [] })] })).gpus[0];
  t.strictSame(none && devicesOf(none, 0), [], 'divided, and no slice made yet: nothing to offer');
});

t.test('profiles are named as the driver names them', async (t) => {
  const a100 = { architecture: 'Ampere', model: 'NVIDIA A100-SXM4-40GB', memoryMiB: 40_960 };
  const h100 = { architecture: 'Hopper', model: 'NVIDIA H100 80GB HBM3', memoryMiB: 81_559 };
  const h200 = { architecture: 'Hopper', model: 'NVIDIA H200', memoryMiB: 143_771 };
  const cases: readonly (readonly [typeof a100, number, number, string])[] = [
    [a100, 14, 4_864, '1g.5gb'],
    [a100, 28, 9_856, '2g.10gb'],
    [a100, 42, 19_968, '3g.20gb'],
    [a100, 98, 40_192, '7g.40gb'],
    [{ ...a100, memoryMiB: 81_920 }, 14, 19_968, '1g.20gb'],
    [h100, 16, 9_984, '1g.10gb'],
    [h100, 26, 20_096, '1g.20gb'],
    [h100, 60, 40_448, '3g.40gb'],
    [h100, 132, 81_008, '7g.80gb'],
    [h200, 16, 16_384, '1g.18gb'],
    [h200, 60, 71_424, '3g.71gb'],
  ];
  for (const [whole, multiprocessorCount, memoryMiB, name] of cases) {
    const slice = { multiprocessorCount, memoryMiB };
    t.equal(profileOf(slice, whole, [slice]), name);
  }
  const part = { multiprocessorCount: 14, memoryMiB: 9_856 };
  t.equal(profileOf(part, a100, [part, part]), '1c.2g.10gb', 'two compute instances of one GPU instance');
});

t.test('a GPU keeps its index when one before it is gone, and the gone one stays with its fault', async (t) => {
  const page = (...numbers: number[]) => parsed(aPage({ gpus: numbers.map((number) => aGpu({ number })) }));
  const both = knownAfter([], page(0, 1));
  const one = knownAfter(both, page(1));
  t.strictSame(
    one.flatMap(({ devices }) => devices.map(({ index, uuid, fault }) => [index, uuid, fault])),
    [
      [0, uuidOf(0), GONE],
      [1, uuidOf(1), undefined],
    ],
  );
  t.strictSame(knownAfter(one, page(0, 1)), both, 'and is taken back');
  const added = knownAfter(one, page(1, 2));
  t.strictSame(
    added.map(({ index, uuid }) => [index, uuid]),
    [
      [0, uuidOf(0)],
      [1, uuidOf(1)],
      [2, uuidOf(2)],
    ],
    'a new one takes no index that is held',
  );
});

t.test(
  'a device with a fault comes back when it was healthy for long, or by the operator for that fault',
  async (t) => {
    const quarantine = new Quarantine();
    const healthy = gpus(1);
    const sick = gpus(1, { fault: 'too hot' });
    const uuid = healthy[0]?.uuid ?? '';
    const judge = (devices: typeof healthy, decisions: Decisions = {}) =>
      quarantine.judge(devices, decisions)[0]?.fault;
    t.equal(judge(sick), 'too hot');
    for (let look = 1; look < HEALTHY_LOOKS; look += 1) t.equal(judge(healthy), 'too hot', `healthy look ${look}`);
    t.equal(judge(healthy), undefined);
    const released: Decisions = { [uuid]: { kind: 'in', fault: 'too hot' } };
    t.equal(judge(sick, released), undefined);
    t.equal(judge(gpus(1, { fault: 'lost' }), released), 'lost', 'another fault takes it out again');
    t.equal(judge(healthy, { [uuid]: { kind: 'out', reason: 'noise' } }), 'taken out of use: noise');
  },
);

const SAMPLES = join('..', 'shared', 'nvidia-smi');
t.test(
  'real pages are read',
  { skip: existsSync(SAMPLES) ? false : 'no sample pages beside this checkout' },
  async (t) => {
    for (const name of readdirSync(SAMPLES).filter((file) => file.endsWith('.xml'))) {
      const text = readFileSync(join(SAMPLES, name), 'utf8');
      const page = parsed(text);
      t.ok(page.gpus.length > 0, name);
      for (const gpu of page.gpus) {
        t.match(
          gpu,
          { uuid: /^GPU-[0-9a-f-]{36}$/, model: /./, memoryMiB: Number, temperatureC: Number, faults: [] },
          name,
        );
        t.equal(gpu.migDevices.length, gpu.isMig ? (text.match(/<mig_device>/g) ?? []).length : 0);
      }
    }
  },
);
