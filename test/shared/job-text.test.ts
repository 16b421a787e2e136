import t from 'tap';
import { isRefusal, type Problem } from '../../shared/errors.js';
import { splitWords } from '../../shared/job-spec/directives.js';
import { RUN_FLAGS, type RunFlagValues, specInputFromFlags } from '../../shared/job-spec/flags.js';
import { parseJobSpec } from '../../shared/job-spec/parse.js';
import type { JobSpec } from '../../shared/job-spec/spec.js';
import { type JobTextOptions, parseJobText } from '../../shared/job-spec/text.js';

function accepted(text: string, options?: JobTextOptions): JobSpec {
  const spec = parseJobText(text, options);
  if (isRefusal(spec)) throw new Error(`refused: ${JSON.stringify(spec.problems)}`);
  return spec;
}

function problems(text: string, options?: JobTextOptions): readonly Problem[] {
  const refusal = parseJobText(text, options);
  if (!isRefusal(refusal)) throw new Error(`accepted: ${JSON.stringify(refusal)}`);
  return refusal.problems ?? [];
}

const FLAGS: RunFlagValues = {
  name: 'align',
  namespace: 'lab',
  priority: 'high',
  cpus: '4',
  memory: '15GiB',
  disk: '10GiB',
  gpus: '1:a100',
  gpuMinMemory: '40GiB',
  array: '1-10',
  timeLimit: '4m',
  env: ['K=V', 'EQ=a=b'],
  label: ['k=v w'],
  constraint: ['label:zone=eu'],
  image: 'python:3.12',
  pull: 'newer',
  network: 'bridge',
  workdir: '/x',
  retry: '3',
  retryBackoff: '1s',
  retryOn: ['exited', 'lost'],
  stopSignal: 'INT',
  stopGrace: '5s',
  hold: true,
  allowFutureNodes: true,
};

const SCRIPT = `#!/bin/bash
#BERTH --name align --namespace=lab --priority high -c 4 --memory 15GiB --disk 10GiB   # the machine
#BERTH --gpus 1:a100 --gpu-min-memory 40GiB --array 1-10 -t4m

# a comment
#BERTH --env K=V --env EQ=a=b --label 'k=v w' --constraint "label:zone=eu" --image python:3.12 --workdir /x
#BERTH --pull newer --network bridge
#BERTH --retry 3 --retry-backoff 1s --retry-on exited --retry-on lost --stop-signal INT --stop-grace 5s --hold
#BERTH --allow-future-nodes
##BERTH --cpus 99
echo hello
`;

const YAML = `
name: align
namespace: lab
priority: high
labels: {k: v w}
hold: true
allowFutureNodes: true
array: 1-10
image: python:3.12
container: {pull: newer, network: bridge}
script: |
${SCRIPT.split('\n')
  .map((line) => `  ${line}`)
  .join('\n')}
env: {K: V, EQ: a=b}
workdir: /x
resources: {cpus: 4, memory: 15GiB, disk: 10GiB, gpus: {count: 1, model: a100, minMemory: 40GiB}}
constraints: ["label:zone=eu"]
timeLimit: 4m
retry: {maxAttempts: 3, backoff: 1s, on: [exited, lost]}
stop: {signal: SIGINT, grace: 5s}
`;

t.test('flags, directives, YAML and JSON that say the same become the same specification', async (t) => {
  const fromFlags = parseJobSpec(specInputFromFlags({ ...FLAGS, script: SCRIPT }));
  t.notOk(isRefusal(fromFlags), JSON.stringify(fromFlags));
  t.strictSame(accepted(SCRIPT), fromFlags);
  t.strictSame(accepted(YAML), fromFlags);
  t.strictSame(accepted(JSON.stringify(specInputFromFlags({ ...FLAGS, script: SCRIPT }), null, '\t')), fromFlags);
});

t.test('every flag sets the field that its table row names', async (t) => {
  for (const { key, field, flag } of RUN_FLAGS) {
    const value =
      FLAGS[key] ??
      {
        exclusive: true,
        target: ['hpc/site', 'pool/small'],
        prefer: 'price',
        deadline: '6h',
        pinCpus: true,
        user: 'ann',
        gpuModel: ['a100'],
        gpuShare: '0.5',
        gpuMig: '1g.5gb',
        gpuMemory: '8GiB',
        count: '3',
        maxParallel: '2',
        licence: ['a=1'],
        gang: true,
        secret: ['a=env:A'],
        logLimit: '1GiB',
      }[String(key)];
    const input = specInputFromFlags({ [key]: value });
    const found = field
      .split('.')
      .reduce<unknown>((at, name) => (at as Record<string, unknown> | undefined)?.[name], input);
    t.not(found, undefined, flag);
  }
});

t.test('a mistake in YAML is reported where it stands', async (t) => {
  t.strictSame(problems('name: a\nsteps:\n  - name: x\n    command: [a]\n    resources:\n      memory: 15\n'), [
    { field: 'steps[0].resources.memory', message: '15 has no unit; write 15GiB', line: 6, column: 7 },
  ]);
  t.match(problems('command: [a]\ntimeLimt: 4m\n'), [
    { field: 'timeLimt', message: /did you mean "timeLimit"/, line: 2, column: 1 },
  ]);
  t.match(problems('{\n  "command": ["a"],\n  "hold": 3\n}'), [{ field: 'hold', line: 3, column: 3 }]);
  t.match(problems('steps:\n  - name: a\n    command: [a]\n  - command: [b]\n'), [{ field: 'steps[1].name', line: 4 }]);
});

t.test('what is no single clear document is refused with line and column', async (t) => {
  const table: [string, RegExp, number][] = [
    ['command: [a\nname: b\n', /not valid YAML/, 2],
    ['command: [a]\nname: b\nname: c\n', /this key is given twice/, 3],
    ['{"command": ["a"], "command": ["b"]}', /this key is given twice/, 1],
    ['command: [a]\n---\ncommand: [b]\n', /a second document/, 2],
    ['command: [a]\nconstraints:\n  - !label:spot\n', /must be quoted/, 3],
    ['resources:\n\tcpus: 2\n', /indent with spaces|not valid YAML/, 2],
  ];
  for (const [text, message, line] of table) t.match(problems(text)[0], { message, line, column: Number }, text);
  t.match(problems(''), [{ message: /has no value/ }]);
  const bomb = `a: &a [1,1,1,1,1,1,1,1,1]\n${['b', 'c', 'd', 'e', 'f'].map((key, at) => `${key}: &${key} [${new Array(9).fill(`*${'abcde'[at]}`)}]`).join('\n')}`;
  t.match(problems(bomb), [{ message: /cannot be read/ }]);
  t.match(problems(`command: [${'a'.repeat(1024 * 1024)}]`), [{ message: /bytes; at most 1048576 are allowed/ }]);
});

t.test('texts in YAML keep their spelling where they are texts', async (t) => {
  const spec = accepted(
    'command: [run, 1.0, 0755, True, "2"]\nenv: {VERSION: 1.10, ON: TRUE, NO: no}\nresources: {cpus: 1.0}\n',
  );
  t.strictSame(spec.steps[0]?.run, { kind: 'command', argv: ['run', '1.0', '0755', 'True', '2'] });
  t.strictSame(spec.steps[0]?.env, { VERSION: '1.10', ON: 'TRUE', NO: 'no' });
  t.equal(spec.steps[0]?.resources.cpuMillis, 1_000);
});

t.test('a script without directives runs as it is and is named after its file', async (t) => {
  const spec = accepted('#!/bin/sh\ntrue\n', { fileName: '/tmp/night.sh' });
  t.match(spec, { name: 'night', steps: [{ run: { kind: 'script', script: '#!/bin/sh\ntrue\n', args: [] } }] });
  t.match(accepted('#BERTH --cpus 2\ntrue\n').steps[0]?.run, { script: '#!/bin/sh\n#BERTH --cpus 2\ntrue\n' });
});

t.test('what is given beside a text overrides it', async (t) => {
  const flags: RunFlagValues = { cpus: '8', env: ['B=2'], count: '2', name: 'mine' };
  const script = accepted('#!/bin/sh\n#BERTH --cpus 1 --memory 1GiB --env A=1 --array 1-9\ntrue\n', { flags });
  const yaml = accepted('command: [a]\nresources: {cpus: 1, memory: 1GiB}\nenv: {A: 1}\narray: 1-9\n', { flags });
  for (const spec of [script, yaml]) {
    t.match(spec, { name: 'mine', steps: [{ array: '0-1', env: { A: '1', B: '2' } }] });
    t.match(spec.steps[0]?.resources, { cpuMillis: 8_000, memoryMiB: 1_024 });
  }
  t.match(problems('steps: [{command: [a]}]', { flags: { cpus: '8' } }), [
    { field: 'resources', message: /belongs to a step/ },
  ]);
  t.strictSame(problems('command: [a]\nresources: {cpus: 1}\n', { flags: { memory: '15' } }), [
    { field: 'resources.memory', message: '15 has no unit; write 15GiB' },
  ]);
});

t.test('a mistake in a directive is reported with its line', async (t) => {
  const table: [string, RegExp][] = [
    ['--cpu 4', /there is no flag --cpu; did you mean "--cpus"/],
    ['--cpus', /--cpus needs a value/],
    ['--hold=yes', /--hold takes no value/],
    ['4', /"4" is no option/],
    ["--name 'a", /not closed/],
    ['--memory 15', /15 has no unit; write 15GiB/],
    ['--gpus a100:2', /is not a number of GPUs/],
    ['--env FOO', /has no value/],
    ['--env BERTH_X=1', /is reserved/],
    ['--array 1-3 --count 3', /cannot be given together/],
  ];
  for (const [line, message] of table) {
    t.match(
      problems(`#!/bin/sh\n#BERTH --label a=b\n#BERTH ${line}\ntrue\n`),
      { length: 1, 0: { message, line: 3 } },
      line,
    );
  }
  t.equal(
    problems('#!/bin/sh\n#BERTH --cpu 1\n#SBATCH --wat\n#BERTH --memory 15\ntrue\n').length,
    3,
    'all are reported',
  );
});

t.test('a directive after the first command is refused, but not one in a here-document', async (t) => {
  t.match(problems('#!/bin/sh\nset -e\n#BERTH --cpus 2\n'), [{ message: /after the first command/, line: 3 }]);
  accepted("#!/bin/sh\ncat <<'END' > job.sh\n#SBATCH --wat\nEND\ntrue\n");
});

t.test('the options of sbatch become the same specification as our flags', async (t) => {
  const table: [string, string][] = [
    ['-J align -n 1 -N1 -c4', '--name align --cpus 4'],
    ['--mem=4096', '--memory 4GiB'],
    ['--mem 4G --requeue', '--memory 4GiB'],
    ['--mem-per-cpu=2G -c 3', '--cpus 3 --memory 6GiB'],
    ['-t 90', '--time-limit 90m'],
    ['-t 90:30', '--time-limit 1h30m30s'],
    ['-t 1:30:00', '--time-limit 90m'],
    ['--time=1-12', '--time-limit 36h'],
    ['--time=1-12:30', '--time-limit 36h30m'],
    ['-a 1-9:2,20', '--array 1-9:2,20'],
    ['-a 1-9%2', '--array 1-9 --max-parallel 2'],
    ['-L matlab:2,cfd', '--licence matlab=2 --licence cfd=1'],
    ['--gres=gpu', '--gpus 1'],
    ['--exclusive', '--exclusive'],
    ['--gres=gpu:2', '--gpus 2'],
    ['--gres=gpu:a100:2', '--gpus 2:a100'],
    ['-G a100:2', '--gpus 2:a100'],
    ['--export=NONE,A=1', '--env A=1'],
    ['-D /data -H', '--workdir /data --hold'],
    ['--no-requeue', '--retry 1'],
    ['--time=0', ''],
  ];
  for (const [theirs, ours] of table) {
    const [left, right] = [`#SBATCH ${theirs}`, `#BERTH ${ours}`].map((line) =>
      accepted(`${line}\nx\n`, { fileName: 'a' }),
    );
    const plain = (spec: JobSpec | undefined) => ({
      ...spec,
      steps: spec?.steps.map((step) => ({ ...step, run: null })),
    });
    t.strictSame(plain(left), plain(right), theirs);
  }
});

t.test('options of sbatch that cannot be honoured are refused by name and line', async (t) => {
  const unsupported = ['-n 4', '-N 2', '-p gpu', '-C ssd', '-o out', '-e err', '--export=ALL', '--mem=0'];
  for (const option of [...unsupported, '--gres=shard:1', '-d afterok:1', '--mail-type=END', '--qos high']) {
    const refusal = parseJobText(`#!/bin/sh\n#SBATCH ${option}\ntrue\n`);
    t.match(refusal, { refused: 'unsupported-field', detail: /^line 2: #SBATCH -/, problems: { length: 1 } }, option);
  }
  for (const option of ['--mem=lots', '-t soon', '-c x', '-G many', '-J "a b"']) {
    t.match(
      parseJobText(`#!/bin/sh\n#SBATCH ${option}\ntrue\n`),
      { refused: 'invalid-spec', problems: [{ line: 2 }] },
      option,
    );
  }
});

t.test('two lines that contradict each other are refused, two that agree are not', async (t) => {
  t.strictSame(problems('#SBATCH --mem=4G\n#BERTH --memory 8GiB\nx\n'), [
    { field: 'resources.memory', message: '--memory is "4GiB" on line 1 and "8GiB" on line 2; keep one', line: 2 },
  ]);
  t.match(problems('#BERTH --env A=1\n#BERTH --env A=2\nx\n'), [{ message: /^--env A is "A=1" on line 1/ }]);
  accepted('#SBATCH --mem=4G\n#BERTH --memory 4GiB --env A=1 --env A=1\nx\n');
});

t.test('variables that only Slurm sets are named with what to use instead', async (t) => {
  const body = `echo $SLURM_ARRAY_TASK_ID \${SLURM_ARRAY_TASK_ID} \${SLURM_NODELIST:-none} # $SLURM_JOB_ID\n`;
  t.match(problems(`#SBATCH -c 1\n# $SLURM_JOB_ID\n${body}`), [
    { message: '$SLURM_ARRAY_TASK_ID is not set by Berth; use BERTH_TASK_INDEX', line: 3 },
    { message: /SLURM_JOB_ID/ },
  ]);
  accepted('#SBATCH --export=SLURM_JOB_ID=7\necho $SLURM_JOB_ID\n');
  accepted('#!/bin/sh\necho $SLURM_JOB_ID\n');
});

t.test('words are split as a shell splits them', async (t) => {
  t.strictSame(splitWords(String.raw`a 'b c' "d \"e\"" f\ g h'i'j  # k`), ['a', 'b c', 'd "e"', 'f g', 'hij']);
  t.strictSame(splitWords('a#b ""'), ['a#b', '']);
});
