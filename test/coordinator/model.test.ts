import { readFileSync } from 'node:fs';
import fc from 'fast-check';
import t from 'tap';
import { ALLOCATION_TRANSITIONS } from '../../coordinator/model/allocation.js';
import { applyEvent } from '../../coordinator/model/apply.js';
import type { LoggedEvent } from '../../coordinator/model/events.js';
import { MinHeap } from '../../coordinator/model/heap.js';
import { INSTANCE_TRANSITIONS } from '../../coordinator/model/instance.js';
import { violations } from '../../coordinator/model/invariants.js';
import { JOB_TRANSITIONS } from '../../coordinator/model/job.js';
import { INTAKE_TRANSITIONS, LINK_TRANSITIONS } from '../../coordinator/model/node.js';
import { formatPastJob, readPastJob, readPastTask } from '../../coordinator/model/past.js';
import { restore, serialize } from '../../coordinator/model/snapshot.js';
import { emptyState } from '../../coordinator/model/state.js';
import { TASK_TRANSITIONS } from '../../coordinator/model/task.js';
import { isAllowed, step } from '../../coordinator/model/transition.js';
import { upcast } from '../../coordinator/model/upcast.js';
import { allocationIdOf, type JobId, parseAllocationId, parseTaskId, taskIdOf } from '../../shared/ids.js';
import {
  eachIndex,
  formatRanges,
  parseRanges,
  type RangeSet,
  rangesCount,
  rangesHave,
  without,
} from '../../shared/ranges.js';
import { aJob } from '../kit/builders.js';
import { stateTable } from '../kit/readme-tables.js';
import { Scenario } from '../kit/scenario.js';

const ROOT = new URL('../../../', import.meta.url);

t.test('every pair of phases is allowed by the table or is a bug', (t) => {
  const machines: Readonly<Record<string, readonly string[]>>[] = [
    JOB_TRANSITIONS,
    TASK_TRANSITIONS,
    ALLOCATION_TRANSITIONS,
    LINK_TRANSITIONS,
    INTAKE_TRANSITIONS,
    INSTANCE_TRANSITIONS,
  ];
  for (const table of machines) {
    for (const from of Object.keys(table)) {
      for (const to of Object.keys(table)) {
        const move = (): unknown => step(table, { kind: from }, { kind: to });
        if (isAllowed(table, from, to)) t.strictSame(move(), { kind: to });
        else t.throws(move, { name: 'Bug', message: `illegal transition ${from} -> ${to}` });
      }
    }
  }
  t.strictSame([JOB_TRANSITIONS.finished, TASK_TRANSITIONS.done, ALLOCATION_TRANSITIONS.ended], [[], [], []]);
  t.end();
});

t.test('the README shows the state machines as they are', (t) => {
  t.ok(readFileSync(new URL('README.md', ROOT), 'utf8').includes(stateTable()), `the README needs:\n${stateTable()}`);
  t.end();
});

t.test('a log written by an earlier build still folds to the same state', (t) => {
  const lines = readFileSync(new URL('test/coordinator/golden/events-v1.jsonl', ROOT), 'utf8').trim().split('\n');
  const state = emptyState();
  for (const line of lines) applyEvent(state, upcast(JSON.parse(line) as LoggedEvent));
  t.strictSame(violations(state), []);
  const golden = (version: number): string =>
    readFileSync(new URL(`test/coordinator/golden/state-v${version}.json`, ROOT), 'utf8').trim();
  t.equal(serialize(state), golden(2));
  t.equal(serialize(restore(golden(2))), golden(2), 'and so does its snapshot');
  t.equal(serialize(restore(golden(1))), golden(2), 'also one of an earlier build, whose sums are worked out again');
  t.end();
});

t.test('a snapshot and an archive of an earlier build, from which things have left, are still read', (t) => {
  const golden = (name: string): string =>
    readFileSync(new URL(`test/coordinator/golden/${name}`, ROOT), 'utf8').trim();
  const memory = { doneTasks: 0, finishedJobs: 0 };
  const state = emptyState(memory);
  for (const line of golden('events-v1.jsonl').split('\n')) applyEvent(state, upcast(JSON.parse(line) as LoggedEvent));
  t.equal(serialize(state), golden('lean-state-v2.json'));
  t.equal(serialize(restore(golden('lean-state-v2.json'), memory)), golden('lean-state-v2.json'));
  const archived = golden('archive-v2.jsonl').split('\n');
  t.equal(archived.length, state.departures.length);
  for (const [position, departure] of state.departures.entries()) {
    const line = archived[position] ?? '';
    if (departure.kind === 'task') t.strictSame(readPastTask(departure.task, line), departure.task);
    else t.equal(formatPastJob(readPastJob(line)), formatPastJob(departure.job));
  }
  t.end();
});

t.test('an event or a snapshot of a later version is refused, never guessed at', (t) => {
  const logged = new Scenario().submit(aJob()).log[0] as LoggedEvent;
  t.throws(() => upcast({ ...logged, version: 2 }), { code: 'store-corrupt' });
  t.throws(() => restore(serialize(emptyState()).replace('"version":2', '"version":3')), { code: 'store-corrupt' });
  t.end();
});

t.test('ids are read back as they were written, and nothing else is taken for one', (t) => {
  const ids = fc.record({
    jobId: fc.nat().map((sequence) => `j${sequence}` as JobId),
    step: fc.constantFrom('main', 'train', 'a-2'),
    index: fc.nat(),
    attempt: fc.nat(),
  });
  fc.assert(
    fc.property(ids, (ref) => {
      const { attempt: _, ...task } = ref;
      t.same(parseAllocationId(allocationIdOf(ref)), ref);
      t.same(parseTaskId(taskIdOf(task)), task);
    }),
    { numRuns: 20, seed: 3 },
  );
  for (const text of ['', 'j1', 'j1.', '1.2', 'j1.A.2', 'j1.2#', 'j1.2.3', '../j1.2'])
    t.equal(parseTaskId(text), undefined);
  t.equal(parseAllocationId('j1.2'), undefined);
  t.equal(parseTaskId('j1.2#3'), undefined);
  t.end();
});

t.test('a range set behaves like the set of its indexes', (t) => {
  fc.assert(
    fc.property(fc.uniqueArray(fc.nat({ max: 40 }), { minLength: 1 }), fc.nat({ max: 41 }), (indexes, removed) => {
      const set = parseRanges(indexes.join(','), 100) as RangeSet;
      const expected = new Set(indexes);
      t.equal(rangesCount(set), expected.size);
      t.equal(rangesHave(set, removed), expected.delete(removed));
      t.strictSame(
        [...eachIndex(without(set, removed))],
        [...expected].sort((left, right) => left - right),
      );
      t.strictSame(parseRanges(formatRanges(set), 100), set);
    }),
    { numRuns: 50, seed: 5 },
  );
  t.equal(formatRanges(parseRanges('9,1-3,4,20-30:5', 100) as RangeSet), '1-4,9,20,25,30');
  for (const text of ['', 'a', '3-1', '1-9:0', '1,1', '1-3,2', '-1', '1-200'])
    t.type(parseRanges(text, 100), 'string', text);
  t.end();
});

t.test('the heap gives things back in order', (t) => {
  fc.assert(
    fc.property(fc.array(fc.nat()), (numbers) => {
      const heap = new MinHeap<number>();
      for (const number of numbers) heap.push(number, number);
      const given = numbers.map(() => heap.pop());
      t.strictSame(
        given,
        [...numbers].sort((left, right) => left - right),
      );
      t.equal(heap.pop(), undefined);
    }),
    { numRuns: 30, seed: 1 },
  );
  t.end();
});
