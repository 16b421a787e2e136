import fc from 'fast-check';
import t from 'tap';
import { applyEvent } from '../../coordinator/model/apply.js';
import { ChangeLog } from '../../coordinator/model/change-log.js';
import { type BerthEvent, EVENT_VERSION } from '../../coordinator/model/events.js';
import { type ClusterState, emptyState } from '../../coordinator/model/state.js';
import { Placer } from '../../coordinator/scheduler/placer.js';
import { DEFAULT_PLAN_POLICY, plan } from '../../coordinator/scheduler/plan.js';
import { present } from '../../shared/assert.js';
import { jobIdOf, type NodeId } from '../../shared/ids.js';
import { anyJob, POOLS } from '../kit/any-jobs.js';
import { oneStep } from '../kit/builders.js';

t.test('a change log tells what has changed since, and when it no longer knows', (t) => {
  const log = new ChangeLog<string>();
  t.strictSame(log.since(log.position), []);
  log.note('a');
  const position = log.position;
  log.note('b');
  log.note('b');
  t.strictSame(log.since(position), ['b', 'b']);
  for (let change = 0; change < 100_000; change += 1) log.note('c');
  t.equal(log.since(position), undefined);
  t.equal(log.since(log.position - 10)?.join(''), 'c'.repeat(10));
  t.end();
});

const anyStory = fc.array(
  fc.oneof(
    fc.record({ kind: fc.constant('submit' as const), jobs: fc.array(anyJob, { minLength: 1, maxLength: 3 }) }),
    fc.record({ kind: fc.constant('end' as const), position: fc.nat({ max: 50 }) }),
    fc.record({ kind: fc.constant('cordon' as const), node: fc.constantFrom(...Object.keys(POOLS)) }),
    fc.record({ kind: fc.constant('open' as const), node: fc.constantFrom(...Object.keys(POOLS)) }),
    fc.record({ kind: fc.constant('remove' as const), node: fc.constantFrom(...Object.keys(POOLS)) }),
    fc.record({ kind: fc.constant('register' as const), node: fc.constantFrom(...Object.keys(POOLS)) }),
  ),
  { minLength: 2, maxLength: 16 },
);

type Chapter = typeof anyStory extends fc.Arbitrary<(infer Each)[]> ? Each : never;

/** What a chapter makes true; nothing where it makes no sense. */
function* eventsOf(state: ClusterState, chapter: Chapter): Generator<BerthEvent> {
  if (chapter.kind === 'submit') {
    for (const { taskCount, ...resources } of chapter.jobs) {
      const sequence = state.nextJobSequence;
      const spec = oneStep({ array: `0-${taskCount - 1}`, resources });
      yield { type: 'job.submitted', jobId: jobIdOf(sequence), sequence, spec, by: 'tester' };
    }
  } else if (chapter.kind === 'end') {
    const live = [...state.allocations.values()].filter(({ phase }) => phase.kind !== 'ended');
    const ended = live[chapter.position % Math.max(1, live.length)];
    if (ended) {
      const end = { kind: 'exited', exitCode: 0, ranMs: 1 } as const;
      yield { type: 'allocation.ended', allocationId: ended.id, end, output: null };
    }
  } else {
    const nodeId = chapter.node as NodeId;
    const known = state.nodes.get(nodeId);
    if (chapter.kind === 'register') yield registered(nodeId, known ? POOLS.a : inventoryOf(nodeId));
    else if (!known) return;
    else if (chapter.kind === 'open' && known.intake.kind !== 'open')
      yield { type: 'node.opened', nodeId, by: 'tester' };
    else if (chapter.kind === 'cordon' && known.intake.kind === 'open')
      yield { type: 'node.cordoned', nodeId, reason: 'x', by: 'tester' };
    else if (chapter.kind === 'remove' && state.index.usage(nodeId).live.size === 0)
      yield { type: 'node.removed', nodeId, by: 'tester' };
  }
}

function inventoryOf(name: string) {
  return present(Object.entries(POOLS).find(([pool]) => pool === name)?.[1], 'pool');
}

function registered(nodeId: NodeId, inventory = inventoryOf(nodeId)): BerthEvent {
  return { type: 'node.registered', nodeId, identity: nodeId, version: '', bootId: '', inventory };
}

t.test('a placer that is kept plans as a new one does, whatever happened and was committed in between', (t) => {
  let placedCount = 0;
  fc.assert(
    fc.property(anyStory, fc.array(fc.nat({ max: 3 }), { minLength: 16, maxLength: 16 }), (story, commits) => {
      const state = emptyState();
      const fold = (event: BerthEvent): void =>
        applyEvent(state, { seq: state.lastSeq + 1, at: 0, version: EVENT_VERSION, event });
      for (const name of Object.keys(POOLS)) fold(registered(name as NodeId));
      const kept = new Placer();
      for (const [at, chapter] of story.entries()) {
        for (const event of eventsOf(state, chapter)) fold(event);
        const made = plan(state, DEFAULT_PLAN_POLICY, 0, new Placer());
        // Now and then it is not asked, and somebody else's plan is committed.
        if (at % 3 !== 2) t.strictSame(plan(state, DEFAULT_PLAN_POLICY, 0, kept), made);
        placedCount += made.placements.length;
        // Some of what was planned is never committed, as when the store fails.
        for (const placement of made.placements.slice(commits[at])) {
          fold({ type: 'allocation.committed', ...placement });
        }
      }
    }),
    { numRuns: 80, seed: 9 },
  );
  t.ok(placedCount > 500, `${placedCount} placements`);
  t.end();
});
