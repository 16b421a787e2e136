import Type from 'typebox';
import type { AllocationId, JobId } from '../../shared/ids.js';
import type { Preparation } from '../../shared/preparation.js';
import { roughBytes } from '../../shared/units.js';
import type { ClusterView } from '../model/state.js';
import type { Service } from './service.js';

const bytes = Type.Integer({ minimum: 0 });

export const preparationSchema = Type.Union(
  [
    Type.Object({ kind: Type.Literal('staging') }),
    Type.Object({ kind: Type.Literal('pulling'), image: Type.String(), bytes, totalBytes: bytes }),
  ],
  { description: 'What goes on before its command can start, as its node last told; absent when nothing does.' },
);

/** What attempts wait for on their nodes, for one look at the state: what nodes last told, and is not over yet. */
export class Preparations {
  readonly #view: ClusterView;
  readonly #usageOf: Service['usageOf'];
  #found: Found | undefined;

  constructor(view: ClusterView, usageOf: Service['usageOf']) {
    this.#view = view;
    this.#usageOf = usageOf;
  }

  of(allocationId: AllocationId): Preparation | undefined {
    return this.#all().byAttempt.get(allocationId);
  }

  /** Of the first task of the job that a node tells of. */
  ofJob(jobId: JobId): Preparation | undefined {
    return this.#all().byJob.get(jobId);
  }

  /** Cost: O(nodes), once. */
  #all(): Found {
    this.#found ??= this.#find();
    return this.#found;
  }

  #find(): Found {
    const found: Found = { byAttempt: new Map(), byJob: new Map() };
    for (const nodeId of this.#view.nodes.keys()) {
      for (const { allocationId, preparation } of this.#usageOf(nodeId)?.heartbeat.preparing ?? []) {
        const allocation = this.#view.allocations.get(allocationId);
        // A sample is older than the reports that have come since, and a node tells of its own attempts only.
        if (allocation?.nodeId !== nodeId || !PREPARED.has(allocation.phase.kind)) continue;
        found.byAttempt.set(allocationId, preparation);
        const { jobId } = allocation.ref;
        if (!found.byJob.has(jobId)) found.byJob.set(jobId, preparation);
      }
    }
    return found;
  }
}

interface Found {
  readonly byAttempt: Map<AllocationId, Preparation>;
  readonly byJob: Map<JobId, Preparation>;
}

const PREPARED: ReadonlySet<string> = new Set(['committed', 'preparing']);

/** `preparing: pulling lab:5000/segment:2 45.2MiB of 120MiB`. */
export function preparationText(preparation: Preparation): string {
  if (preparation.kind === 'staging') return 'preparing: staging its files in';
  const { image, bytes, totalBytes } = preparation;
  const progress = totalBytes === 0 ? '' : ` ${roughBytes(bytes)} of ${roughBytes(totalBytes)}`;
  return `preparing: pulling ${image}${progress}`;
}
