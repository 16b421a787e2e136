import { applyEvent } from '../model/apply.js';
import type { MemoryLimits } from '../model/memory-limits.js';
import { restore } from '../model/snapshot.js';
import { type ClusterState, emptyState } from '../model/state.js';
import { upcast } from '../model/upcast.js';
import type { Store } from '../store/store.js';

/**
 * Folds the log back into the state: the newest snapshot, then every event after it.
 *
 * What leaves memory on the way is archived again, for the limits may be others than they were.
 */
export async function recover(
  store: Store,
  memory?: MemoryLimits,
): Promise<{ readonly state: ClusterState; readonly snapshotSeq: number }> {
  const { snapshot, tail } = await store.open();
  const state = snapshot ? restore(snapshot.body, memory) : emptyState(memory);
  for (const logged of tail) applyEvent(state, upcast(logged));
  await archive(store, state);
  return { state, snapshotSeq: snapshot?.seq ?? 0 };
}

async function archive(store: Store, state: ClusterState): Promise<void> {
  const departures = state.departures.splice(0);
  if (departures.length === 0) return;
  try {
    await store.append([], departures);
  } catch (error) {
    await store.close();
    throw error;
  }
}
