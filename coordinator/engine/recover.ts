import { applyEvent } from '../model/apply.js';
import { restore } from '../model/snapshot.js';
import { type ClusterState, emptyState } from '../model/state.js';
import { upcast } from '../model/upcast.js';
import type { EventStore } from '../store/store.js';

/** Folds the log back into the state: the newest snapshot, then every event after it. */
export async function recover(
  store: EventStore,
): Promise<{ readonly state: ClusterState; readonly snapshotSeq: number }> {
  const { snapshot, tail } = await store.open();
  const state = snapshot ? restore(snapshot.body) : emptyState();
  for (const logged of tail) applyEvent(state, upcast(logged));
  return { state, snapshotSeq: snapshot?.seq ?? 0 };
}
