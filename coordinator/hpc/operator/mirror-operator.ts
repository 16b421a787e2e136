import { present } from '../../../shared/assert.js';
import { type Clock, sleep } from '../../../shared/clock.js';
import { isRefusal, type Refusal, refuse } from '../../../shared/errors.js';
import type { AllocationId, NodeId } from '../../../shared/ids.js';
import type { JobSpec, TargetName } from '../../../shared/job-spec/spec.js';
import type { Log } from '../../../shared/log.js';
import type { AllocationEnd } from '../../../shared/outcome.js';
import { type Held, type Hello, PROTOCOL_VERSION } from '../../../shared/wire/messages.js';
import type { ArtifactStore } from '../../artifacts/artifact-store.js';
import type { SecretSource } from '../../engine/grants.js';
import type { EngineHandle } from '../../engine/handle.js';
import type { Effect } from '../../engine/inputs.js';
import type { Allocation } from '../../model/allocation.js';
import type { Step } from '../../model/job.js';
import { inventoryOf, targetNode } from '../../model/mirror.js';
import type { ClusterView } from '../../model/state.js';
import type { OutlookRequest, SiteOutlook } from '../../routing/outlook.js';
import { type ArrayRange, arrayRangeOf } from '../array-range.js';
import type { HpcBackend } from '../backend.js';
import type { TargetSpec } from '../read-targets.js';
import { type HpcTarget, secretNamesOf } from '../target.js';
import { Foresight } from './foresight.js';
import { type Group, groupsOf, offsetOfGroup, tagFor } from './grouping.js';
import { Outlooks } from './outlooks.js';
import type { OutputSink } from './output.js';
import { refuseTargets, requestsOf } from './refuse-targets.js';
import type { RemoteState } from './remote-work.js';
import { Site } from './site.js';
import { workOf } from './work-of.js';

export interface MirrorOperatorOptions {
  readonly engine: Pick<EngineHandle, 'handle' | 'handleAll'> & { readonly view: ClusterView };
  readonly targets: readonly TargetSpec[];
  /** A backend with the credentials of a namespace. Opens no connection. */
  readonly open: (target: HpcTarget, namespace: string) => HpcBackend;
  readonly secrets: SecretSource;
  /** What remote jobs of this coordinator are tagged with. */
  readonly cluster: string;
  readonly version: string;
  readonly logs: OutputSink;
  readonly artifacts: ArtifactStore;
  readonly clock: Clock;
  readonly log: Log;
}

/** One account at one target. */
interface OpenSite {
  readonly site: Site;
  readonly outlooks: Outlooks;
}

/** A submission waits so long for a site to say what is set up wrongly. */
const CHECK_MS = 5_000;

/**
 * The agent of all targets: it stands in the engine as one node each, and makes remote jobs of what is committed there.
 *
 * It holds nothing that must survive. Which attempts are one remote job, and its tag, are on disk before anything is
 * submitted; after a restart every live attempt is gone through again, and its job is found by that tag.
 */
export class MirrorOperator {
  readonly #options: MirrorOperatorOptions;
  readonly #targets: ReadonlyMap<NodeId, TargetSpec>;
  /** By target and, where jobs need credentials, namespace. */
  readonly #sites = new Map<string, OpenSite>();
  readonly #foresight: Foresight;
  #ordered = new Set<AllocationId>();
  #isAdopting = false;
  #isClosed = false;

  constructor(options: MirrorOperatorOptions) {
    this.#options = options;
    this.#targets = new Map(options.targets.map((spec) => [targetNode(nameOf(spec)), spec]));
    this.#foresight = new Foresight({
      ...options,
      targetOf: (name) => this.#targets.get(targetNode(name)),
      siteOf: (name, namespace) => this.#openSite(targetNode(name), namespace),
    });
  }

  /** Joins the engine, and takes up what was going on when the last coordinator ended. */
  async begin(): Promise<void> {
    const { engine, log } = this.#options;
    for (const [nodeId, spec] of this.#targets) {
      const live = [...engine.view.index.usage(nodeId).live];
      const reply = await engine.handle({ type: 'agentJoined', hello: this.#hello(nodeId, spec, live) });
      if (isRefusal(reply)) log.error('a target cannot join', { target: nodeId, reason: reply.detail });
      this.#adoptSoon(live);
    }
    this.#foresight.begin();
  }

  /** Does what follows for targets from events that are on disk; what is not for them is left to others. */
  perform(effects: readonly Effect[]): void {
    const started: AllocationId[] = [];
    for (const effect of effects) {
      if (effect.kind !== 'start' && effect.kind !== 'stop') continue;
      if (!this.#targets.has(effect.nodeId)) continue;
      if (effect.kind === 'start') started.push(effect.allocationId);
      else this.#end(effect.allocationId, effect.nodeId);
    }
    if (started.length > 0) this.#adoptSoon(started);
  }

  /** A site that does not answer in time is waited for by the job. */
  async refuse(spec: JobSpec): Promise<Refusal | undefined> {
    const { secrets, clock, targets } = this.#options;
    const hasSecret = (namespace: string, name: string): boolean => secrets.valueOf(namespace, name) !== undefined;
    const refusal = refuseTargets(spec, { targets, hasSecret });
    if (refusal) return refusal;
    for (const { name, field } of requestsOf(spec)) {
      const site = this.#siteOf(targetNode(name), spec.namespace);
      const message = site && (await Promise.race([site.setup.fault(), sleep(clock, CHECK_MS).then(() => undefined)]));
      if (message) return refuse('invalid-spec', message, { problems: [{ field, message }] });
    }
    await Promise.race([this.#foresight.ask(spec), sleep(clock, CHECK_MS)]);
    return undefined;
  }

  secretSet(): void {
    for (const { site } of this.#sites.values()) site.renewed();
  }

  outlookOf(request: OutlookRequest): SiteOutlook | undefined {
    return this.#foresight.outlookOf(request);
  }

  stateOf(allocationId: AllocationId): RemoteState | undefined {
    for (const { site } of this.#sites.values()) {
      const state = site.stateOf(allocationId);
      if (state !== undefined) return state;
    }
    return undefined;
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    this.#foresight.close();
    for (const { outlooks } of this.#sites.values()) outlooks.close();
    await Promise.all([...this.#sites.values()].map(({ site }) => site.close()));
  }

  #hello(nodeId: NodeId, spec: TargetSpec, live: readonly AllocationId[]): Hello {
    const { engine, version } = this.#options;
    return {
      protocol: PROTOCOL_VERSION,
      version,
      nodeId,
      identity: `target:${nodeId}`,
      instance: 'coordinator',
      bootId: 'remote',
      inventory: inventoryOf(nameOf(spec), spec.maxTasks),
      held: live.flatMap((id) => heldOf(engine.view.allocations.get(id))),
    };
  }

  /** Tasks that are committed in one go are looked at together: they may be one array. */
  #adoptSoon(ids: readonly AllocationId[]): void {
    for (const id of ids) this.#ordered.add(id);
    if (this.#isAdopting || this.#ordered.size === 0) return;
    this.#isAdopting = true;
    this.#options.clock.soon(() => void this.#adopt());
  }

  async #adopt(): Promise<void> {
    const { engine, log } = this.#options;
    while (this.#ordered.size > 0 && !this.#isClosed) {
      const ids = this.#ordered;
      this.#ordered = new Set();
      const ranges = await this.#rangesFor(ids);
      const rangeOf = (nodeId: NodeId): ArrayRange => present(ranges.get(nodeId), `range of arrays at ${nodeId}`);
      for (const group of groupsOf(engine.view, ids, rangeOf)) {
        await this.#begin(group, rangeOf).catch((error: unknown) => {
          if (!this.#isClosed) log.warn('a remote job could not be begun', { jobId: group.job.id, error });
        });
      }
    }
    this.#isAdopting = false;
  }

  /** What arrays may be at the targets of these attempts. A site is asked once; one that is away is not waited for long. */
  async #rangesFor(ids: Iterable<AllocationId>): Promise<ReadonlyMap<NodeId, ArrayRange>> {
    const { view } = this.#options.engine;
    const ranges = new Map<NodeId, ArrayRange>();
    for (const id of ids) {
      const allocation = view.allocations.get(id);
      const spec = allocation && this.#targets.get(allocation.nodeId);
      const job = allocation && view.jobs.get(allocation.ref.jobId);
      const step = allocation && job?.steps.get(allocation.ref.step);
      if (!spec || !job || !step || !isArray(step) || ranges.has(allocation.nodeId)) continue;
      const asked = await this.#siteOf(allocation.nodeId, job.spec.namespace)?.setup.maxArraySize();
      ranges.set(allocation.nodeId, arrayRangeOf(spec.target, asked ?? null));
    }
    return ranges;
  }

  async #begin(group: Group, rangeOf: (nodeId: NodeId) => ArrayRange): Promise<void> {
    const { engine, cluster, log, secrets, clock } = this.#options;
    const [first] = group.allocations;
    if (!first) return;
    const wasThere = first.mirror !== undefined;
    const tag = first.mirror?.tag ?? tagFor(cluster, first);
    if (!wasThere) {
      const allocationIds = group.allocations.map(({ id }) => id);
      const offset = isArray(group.step) ? offsetOfGroup(group.allocations, rangeOf(first.nodeId)) : 0;
      await engine.handle({ type: 'submitMirror', tag, indexOffset: offset, allocationIds });
    }
    const allocations = group.allocations.flatMap(({ id }) => {
      const now = engine.view.allocations.get(id);
      return now && now.phase.kind !== 'ended' && now.mirror?.tag === tag ? [now] : [];
    });
    for (const { id, nodeId, mirror } of group.allocations)
      if (!mirror && !allocations.some((each) => each.id === id)) this.#end(id, nodeId);
    const spec = this.#targets.get(first.nodeId);
    if (!spec || allocations.length === 0) return;
    const known = { target: spec.target, secrets, now: clock.now(), wasThere };
    const work = workOf({ ...group, allocations }, tag, known);
    if (isRefusal(work)) {
      log.warn('a remote job is refused', { tag, reason: work.detail });
      await Promise.all(allocations.map((allocation) => this.#reject(allocation, work.detail)));
      return;
    }
    this.#siteOf(first.nodeId, group.job.spec.namespace)?.add(work);
  }

  #siteOf(nodeId: NodeId, namespace: string): Site | undefined {
    return this.#openSite(nodeId, namespace)?.site;
  }

  #openSite(nodeId: NodeId, namespace: string): OpenSite | undefined {
    const spec = this.#targets.get(nodeId);
    if (!spec) return undefined;
    const { target } = spec;
    const hasOwn = secretNamesOf(target).length > 0;
    const key = JSON.stringify([nodeId, hasOwn ? namespace : null]);
    const known = this.#sites.get(key);
    if (known) return known;
    const { engine, logs, artifacts, clock, log, open } = this.#options;
    const backend = open(target, namespace);
    const opened = {
      site: new Site({ target, nodeId, backend, engine, logs, artifacts, clock, log }),
      outlooks: new Outlooks({ target, backend, clock, log }),
    };
    this.#sites.set(key, opened);
    return opened;
  }

  /** An attempt is to stop; one that was never on its way to the site has ended with that. */
  #end(id: AllocationId, nodeId: NodeId): void {
    const allocation = this.#options.engine.view.allocations.get(id);
    const reason = allocation?.phase.kind === 'stopping' ? allocation.phase.reason : 'stale';
    for (const { site } of this.#sites.values()) if (site.stop(id, reason)) return;
    if (allocation?.phase.kind !== 'stopping' || allocation.mirror) return;
    this.#report(id, nodeId, { kind: 'stopped', reason, ranMs: 0 });
  }

  #reject({ id, nodeId }: Allocation, message: string): void {
    this.#report(id, nodeId, { kind: 'rejected', message });
  }

  #report(allocationId: AllocationId, nodeId: NodeId, end: AllocationEnd): void {
    const { engine, log } = this.#options;
    const report = { allocationId, phase: 'ended', ageMs: 0, end: { end, stdoutBytes: 0, stderrBytes: 0 } } as const;
    engine.handle({ type: 'agentReported', nodeId, report }).catch((error: unknown) => {
      if (!this.#isClosed) log.warn('the end of a remote task is not recorded', { allocationId, error });
    });
  }
}

function isArray({ spec }: Step): boolean {
  return spec.array !== '0';
}

function nameOf({ target }: TargetSpec): TargetName {
  return `hpc/${target.name}`;
}

/** What is committed is not held yet: it is started by going through all that is live. */
function heldOf(allocation: Allocation | undefined): Held[] {
  const kind = allocation?.phase.kind;
  if (!allocation || kind === undefined || kind === 'committed' || kind === 'ended') return [];
  return [{ allocationId: allocation.id, phase: kind, ageMs: 0 }];
}
