import type { Clock } from '../../shared/clock.js';
import type { Refusal } from '../../shared/errors.js';
import type { NodeId } from '../../shared/ids.js';
import type { Limits, Packing } from '../../shared/limits.js';
import type { Heartbeat } from '../../shared/wire/messages.js';
import type { ArtifactStore } from '../artifacts/artifact-store.js';
import type { EngineHandle } from '../engine/handle.js';
import type { Pricing } from '../scheduler/worth/pricing.js';
import { JobWatch } from './job-watch.js';
import type { MachineKeeper } from './machine-keeper.js';
import type { Remotes } from './remotes.js';
import type { SecretKeeper } from './secret-keeper.js';
import type { TaskLogsReader } from './task-logs-reader.js';

/** The newest sample of a node: soft state, shown and never decided on. */
export interface NodeSample {
  readonly heartbeat: Heartbeat;
  /** The node's wall clock less the coordinator's. */
  readonly clockOffsetMs: number;
}

export interface ServiceParts {
  readonly engine: EngineHandle;
  readonly logs: TaskLogsReader;
  readonly artifacts: ArtifactStore;
  /** Undefined while the node has sent none on its present connection. */
  readonly usageOf: (nodeId: NodeId) => NodeSample | undefined;
  readonly clock: Clock;
  readonly limits: Limits;
  readonly packing: Packing;
  /** The planner's, for rehearsals. */
  readonly pricing: Pricing;
  readonly secrets: SecretKeeper;
  readonly remotes: Remotes;
  readonly machines: MachineKeeper;
}

/** What the use cases in this folder work with. It lives as long as its engine. */
export interface Service extends ServiceParts {
  readonly watch: JobWatch;
  /** Aborts when the service is closed: whatever is still being answered ends. */
  readonly ended: AbortSignal;
  close(): void;
}

/** The service of the moment, or why there is none: the store cannot be written, or the coordinator is stopping. */
export type ServiceSource = () => Service | Refusal;

export function openService(parts: ServiceParts): Service {
  const watch = new JobWatch(parts.engine);
  const end = new AbortController();
  const close = (): void => {
    end.abort();
    watch.close();
  };
  return { ...parts, watch, ended: end.signal, close };
}
