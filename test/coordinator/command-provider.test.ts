import { chmodSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import type { InstanceProvider } from '../../coordinator/elastic/provider.js';
import { commandProvider } from '../../coordinator/elastic/providers/command/command-provider.js';
import type { InstanceId } from '../../shared/ids.js';
import { instanceProviderConformance, type ProviderBench } from '../conformance/instance-provider.js';
import { dieCreating } from '../kit/dying-coordinator.js';
import { aMachineOrder, aProviderWorld } from '../kit/machines.js';
import { temporaryFolder } from '../kit/temporary-folder.js';

const signal = new AbortController().signal;

/** An operator's hooks: machines are files of a folder, with cluster, instance, pool and state in them. */
const HOOKS = `#!/bin/sh
verb=$1 cloud=$2 one=$3
case $verb in
create)
  [ -s "$BERTH_TOKEN_FILE" ] || exit 78
  ref=vm-$BERTH_CLUSTER-$BERTH_INSTANCE
  echo "$BERTH_CLUSTER $BERTH_INSTANCE $BERTH_POOL running" >"$cloud/$ref"
  echo "$ref" ;;
list)
  for file in "$cloud"/*; do
    [ -e "$file" ] && read -r cluster instance pool state <"$file" && [ "$cluster" = "$one" ] || continue
    printf '{"ref":"%s","instance":"%s","pool":"%s","state":"%s"}\\n' "\${file##*/}" "$instance" "$pool" "$state"
  done ;;
suspend | resume)
  [ -e "$cloud/$one" ] || exit 66
  [ "$verb" = suspend ] && state=suspended || state=running
  read -r cluster instance pool old <"$cloud/$one"
  echo "$cluster $instance $pool $state" >"$cloud/$one" ;;
terminate)
  [ -e "$cloud/$one" ] || exit 66
  rm "$cloud/$one" ;;
esac
exit 0
`;

t.test('command', async (t) => instanceProviderConformance(t, async (t) => commandBench(t)));

t.test('a hook says by its exit code why it did not do as told', async (t) => {
  const folder = temporaryFolder(t);
  const endsWith = (code: number): InstanceProvider =>
    open(folder, { ...hooks('true', folder), suspend: ['sh', '-c', `echo no room >&2; exit ${code}`] });
  const faults = {
    66: 'not-found',
    69: 'capacity',
    71: 'quota',
    75: 'unavailable',
    77: 'credentials',
    78: 'configuration',
    1: 'unavailable',
    127: 'configuration',
  };
  for (const [code, fault] of Object.entries(faults)) {
    const message = `suspend: sh ended with exit code ${code}: no room`;
    await t.rejects(endsWith(Number(code)).suspend('vm', signal), { name: 'ProviderError', fault, message });
  }
  const slow = open(folder, { ...hooks('true', folder), suspend: ['sleep', '100'], timeLimit: '100ms' });
  await t.rejects(slow.suspend('vm', signal), { fault: 'unavailable', message: /did not answer within 100 ms/ });
  const giveUp = new AbortController();
  const pending = open(folder, { ...hooks('true', folder), suspend: ['sleep', '100'] }).suspend('vm', giveUp.signal);
  giveUp.abort();
  await t.rejects(pending, { fault: 'unavailable', message: /no longer wanted/ });
  const absent = open(folder, { ...hooks('true', folder), check: ['no-such-program'] });
  await t.rejects(absent.check(signal), { fault: 'configuration', message: /there is no program no-such-program/ });
});

t.test('what hooks write that cannot be understood is named', async (t) => {
  const folder = temporaryFolder(t);
  const says = (text: string): InstanceProvider => open(folder, { ...hooks('true', folder), list: ['echo', text] });
  for (const [text, message] of [
    ['vm1 running', /list: "vm1 running" is no JSON; write {"ref": "…", "instance": "i7"/],
    ['{"ref":"a","instance":"i1","pool":"p","state":"on"}', /state: "on" is none of starting, running/],
    ['{"instance":"i1","pool":"p","state":"running"}', /write {"ref": "…"/],
  ] as const) {
    await t.rejects(says(text).list('lab', signal), { fault: 'configuration', message });
  }
  const silent = open(folder, { ...hooks('true', folder), list: ['true'], create: ['true'] });
  await t.rejects(silent.create(aMachineOrder(), signal), { fault: 'unavailable', message: /create: it wrote ""/ });
  t.strictSame(readdirSync(folder), [], 'no token is left');
});

t.test('wrong hooks are named before any is called', (t) => {
  const wrong = {
    create: ['make', placeholder('instnace')],
    list: [],
    terminate: ['end'],
    suspend: ['nap'],
    machines: [{}],
  };
  t.throws(() => open('/nowhere', wrong), { fault: 'configuration', message: /instnace.*did you mean "instance"/ });
  t.throws(() => open('/nowhere', wrong), { fault: 'configuration', message: /list: it is empty; write \["\/path/ });
  t.throws(() => open('/nowhere', wrong), {
    fault: 'configuration',
    message: /machines: {} is no machine with a name/,
  });
  const half = { ...hooks('true', '/nowhere'), resume: undefined };
  t.throws(() => open('/nowhere', half), { fault: 'configuration', message: /suspend and resume come together/ });
  t.end();
});

t.test('machines of a list are lent, switched on and off, and given back', async (t) => {
  const folder = temporaryFolder(t);
  const power = join(folder, 'power');
  mkdirSync(power);
  const put = ['sh', '-c', `echo "$0" > ${power}/"$1"`];
  const settings = {
    machines: [
      { name: 'gpu1', bmc: '10.0.0.11' },
      { name: 'gpu2', bmc: '10.0.0.12' },
    ],
    create: [...put, 'on', placeholder('machine.bmc')],
    resume: [...put, 'on', placeholder('machine.bmc')],
    suspend: [...put, 'off', placeholder('machine.bmc')],
    terminate: [...put, 'off', placeholder('machine.bmc')],
    list: [
      'sh',
      '-c',
      `for n in 1 2; do s=off; read -r s <${power}/10.0.0.1$n; printf '{"ref":"gpu%s","state":"%s"}\\n' $n "$s"; done; exit 0`,
    ],
  };
  const state = join(folder, 'state');
  const provider = () => open(state, settings);
  const order = (instanceId: string) => aMachineOrder({ instanceId: instanceId as InstanceId });
  const listed = async () =>
    (await provider().list('lab', signal)).map(({ ref, instanceId, state }) => [ref, instanceId, state]);
  await provider().check(signal);
  t.strictSame(await listed(), []);
  t.strictSame(await provider().create(order('i1'), signal), { ref: 'gpu1' });
  t.strictSame(await provider().create(order('i1'), signal), { ref: 'gpu1' }, 'the one machine that it has');
  t.strictSame(await provider().create(order('i2'), signal), { ref: 'gpu2' });
  await t.rejects(provider().create(order('i3'), signal), { fault: 'capacity', message: /all 2 machines/ });
  t.strictSame(await listed(), [
    ['gpu1', 'i1', 'running'],
    ['gpu2', 'i2', 'running'],
  ]);
  await provider().suspend('gpu1', signal);
  await provider().terminate('gpu2', signal);
  t.strictSame(await listed(), [['gpu1', 'i1', 'suspended']]);
  t.equal(readFileSync(join(power, '10.0.0.12'), 'utf8').trim(), 'off');
  await provider().resume('gpu1', signal);
  t.strictSame(await provider().create(order('i4'), signal), { ref: 'gpu2' }, 'what was given back is free');
  t.match(await listed(), [
    ['gpu1', 'i1', 'running'],
    ['gpu2', 'i4', 'running'],
  ]);
  await t.rejects(provider().suspend('gpu3', signal), { fault: 'not-found', message: /gpu3/ });
  await provider().terminate('gpu3', signal);
});

/** In a string of its own, so that no template is mistaken for one. */
function placeholder(name: string): string {
  return `\${${name}}`;
}

function hooks(program: string, cloud: string): Readonly<Record<string, readonly string[]>> {
  const ref = placeholder('ref');
  return {
    create: [program, 'create', cloud],
    list: [program, 'list', cloud, placeholder('cluster')],
    suspend: [program, 'suspend', cloud, ref],
    resume: [program, 'resume', cloud, ref],
    terminate: [program, 'terminate', cloud, ref],
  };
}

function open(stateDir: string, settings: Readonly<Record<string, unknown>>): InstanceProvider {
  return commandProvider(settings, aProviderWorld(stateDir));
}

function commandBench(t: Test): ProviderBench {
  const folder = temporaryFolder(t);
  const [cloud, script, stateDir] = [join(folder, 'cloud'), join(folder, 'hooks'), join(folder, 'state')];
  mkdirSync(cloud);
  writeFileSync(script, HOOKS);
  chmodSync(script, 0o755);
  const settings = hooks(script, cloud);
  return {
    open: () => open(stateDir, settings),
    order: aMachineOrder(),
    vanish: async (ref) => rmSync(join(cloud, ref)),
    count: async () => readdirSync(cloud).length,
    deaths: {
      'at any moment': (order) => dieCreating(order, { kind: 'command', settings, stateDir, afterMs: 10 }),
    },
  };
}
