import t from 'tap';
import { ordersOf } from '../../coordinator/engine/orders.js';
import { artifactsInUse } from '../../coordinator/service/artifacts-in-use.js';
import { artifactUrl, type StoredOutput } from '../../shared/artifact.js';
import type { AllocationId, NodeId } from '../../shared/ids.js';
import { type InputSource, STAGING_LIMITS } from '../../shared/job-spec/staging-spec.js';
import type { AllocationEnd } from '../../shared/outcome.js';
import type { StagingRecord } from '../../shared/wire/messages.js';
import { aJob, anInventory, aStep, oneStep } from '../kit/builders.js';
import { Scenario } from '../kit/scenario.js';

const SUCCESS: AllocationEnd = { kind: 'exited', exitCode: 0, ranMs: 1 };

function file(path: string, digit = 'a'): StoredOutput {
  return { path, sha256: digit.repeat(64), sizeBytes: 3 };
}

/** The node says that the attempt has ended and what it left. */
function leaves(cluster: Scenario, id: string, outputs: readonly StoredOutput[], end = SUCCESS): Scenario {
  const staging: StagingRecord = { inputs: [], outputs };
  const report = { end: { end, stdoutBytes: 0, stderrBytes: 0, staging }, phase: 'ended', ageMs: 0 } as const;
  const nodeId = cluster.allocation(id)?.nodeId ?? ('n1' as NodeId);
  return cluster.when({ type: 'agentReported', nodeId, report: { ...report, allocationId: id as AllocationId } });
}

function inputsOf(cluster: Scenario, id: string) {
  const order = ordersOf(cluster.view).startOrder(id as AllocationId);
  return (order?.inputs ?? []).map(({ to, source, sha256 }) => [
    to,
    source.kind === 'url' ? source.url : source.kind === 'fault' ? source.message : source.content,
    sha256,
  ]);
}

/** A producer and a consumer with an edge between them. */
function pair(producer: string, consumer: string, edge: Partial<Extract<InputSource, { kind: 'step' }>>) {
  const source: InputSource = { kind: 'step', step: 'a', path: 'r/*', ...edge };
  return aJob({
    steps: [
      aStep({ name: 'a', array: producer, outputs: [{ path: '**' }] }),
      aStep({ name: 'b', array: consumer, needs: ['a'], inputs: [{ source, to: 'in' }] }),
    ],
  });
}

const roomy = () =>
  new Scenario().join('n1', {
    inventory: anInventory({ capacity: { cpuMillis: 64_000, memoryMiB: 65_536, diskMiB: 0 } }),
  });

t.test('an edge brings what the other step has left, of all its tasks each in its folder', (t) => {
  const cluster = roomy().submit(pair('1-2', '0', {}));
  leaves(cluster, 'j1.a.1#1', [file('r/x', '1'), file('other')]);
  leaves(cluster, 'j1.a.2#1', [file('r/x', '2')]);
  t.strictSame(inputsOf(cluster, 'j1.b.0#1'), [
    ['in/1/r/x', artifactUrl('1'.repeat(64)), '1'.repeat(64)],
    ['in/2/r/x', artifactUrl('2'.repeat(64)), '2'.repeat(64)],
  ]);
  t.end();
});

t.test('between equal arrays an edge brings the files of the same index; one file takes its place itself', (t) => {
  const cluster = roomy().submit(pair('1-2', '1-2', { path: 'r/x' }));
  leaves(cluster, 'j1.a.1#1', [file('r/x', '1')]);
  leaves(cluster, 'j1.a.2#1', [file('r/x', '2')]);
  t.match(inputsOf(cluster, 'j1.b.2#1'), [['in', artifactUrl('2'.repeat(64))]]);
  const all = roomy().submit(pair('1-2', '1-2', { path: 'r/x', tasks: 'all' }));
  leaves(all, 'j1.a.1#1', [file('r/x', '1')]);
  leaves(all, 'j1.a.2#1', [file('r/x', '2')]);
  t.match(inputsOf(all, 'j1.b.2#1'), [['in/1/r/x'], ['in/2/r/x']]);
  const one = roomy().submit(pair('7', '0', {}));
  leaves(one, 'j1.a.7#1', [file('r/x', '1')]);
  t.match(inputsOf(one, 'j1.b.0#1'), [['in/r/x']], 'a step of one task has no folders');
  t.end();
});

t.test('an edge that brings nothing, or too much, is a reason why the task cannot start', (t) => {
  const cluster = roomy().submit(pair('0', '0', {}));
  leaves(cluster, 'j1.a.0#1', [file('other')]);
  t.match(inputsOf(cluster, 'j1.b.0#1'), [['inputs', 'the step "a" left no output that matches "r/*"']]);
  const many = roomy().submit(pair('1-3', '0', {}));
  const files = Array.from({ length: STAGING_LIMITS.maxOutputFiles }, (_, at) => file(`r/${at}`));
  for (const index of [1, 2, 3]) leaves(many, `j1.a.${index}#1`, files);
  t.match(inputsOf(many, 'j1.b.0#1'), [['inputs', /its inputs are \d+ files, the limit is \d+; archive them/]]);
  t.end();
});

t.test("only the attempt that counts commits outputs, and a stale one's are refused", (t) => {
  const spec = oneStep({ outputs: [{ path: '**' }], retry: { maxAttempts: 2, backoffMs: 0, on: ['lost', 'exited'] } });
  const cluster = roomy().submit(spec);
  leaves(cluster, 'j1.0#1', [file('x', '1')], { kind: 'lost', message: 'gone' });
  leaves(cluster, 'j1.0#1', [file('x', '2')]);
  t.strictSame(cluster.types(), [], 'the end of an attempt that has ended changes nothing');
  t.match(cluster.allocation('j1.0#1')?.phase, { staging: { outputs: [{ sha256: '1'.repeat(64) }] } });
  leaves(cluster, 'j1.0#2', [file('x', '3')]);
  t.match(cluster.job('j1')?.phase, { outcome: 'succeeded' });
  t.match(cluster.allocation('j1.0#2')?.phase, { staging: { outputs: [{ sha256: '3'.repeat(64) }] } });
  t.end();
});

t.test('what known jobs take and have left is in use', (t) => {
  const taken = 'b'.repeat(64);
  const inputs = [{ source: { kind: 'url', url: artifactUrl(taken) }, to: 'x' } as const];
  const cluster = roomy().submit(oneStep({ inputs, outputs: [{ path: '**' }] }));
  t.strictSame([...artifactsInUse(cluster.view)], [taken]);
  leaves(cluster, 'j1.0#1', [file('x')]);
  t.strictSame([...artifactsInUse(cluster.view)], [taken, 'a'.repeat(64)]);
  t.end();
});

t.test('a task with volumes goes to a node that has them, and what no node has is refused by name', (t) => {
  const cluster = new Scenario()
    .join('n1')
    .join('n2', { inventory: anInventory({ volumes: [{ name: 'scans', writable: false }] }) });
  const wants = (name: string, writable?: true) =>
    oneStep({ volumes: [{ name, mount: 'in', ...(writable ? { writable } : {}) }] });
  t.equal(cluster.submit(wants('scans')).allocation('j1.0#1')?.nodeId, 'n2');
  t.equal(cluster.submit(wants('scans', true)).refusal(), 'impossible-resources');
  t.match(cluster.reply, { detail: /n2: its volume "scans" is read-only there/ });
  t.match(cluster.submit(wants('models')).reply, { detail: /it has no volume "models"/ });
  t.end();
});

t.test('a task that leaves files stays in memory with its job, for another step to take them', (t) => {
  const cluster = roomy().submit(pair('1-2', '0', {}));
  leaves(cluster, 'j1.a.1#1', [file('r/x', '1')]);
  t.strictSame([...cluster.view.finished.tasks], [], 'it is not among what may leave');
  leaves(cluster, 'j1.a.2#1', [file('r/x', '2')]).exits('j1.b.0#1');
  t.strictSame([...cluster.view.finished.tasks], ['j1.b.0'], 'what leaves nothing may go');
  t.end();
});
