import { join } from 'node:path';
import { ARTIFACT_LIMITS } from '../shared/artifact.js';
import { systemClock } from '../shared/clock.js';
import { AppError, isAppError, type Refusal, refuse } from '../shared/errors.js';
import type { NodeId } from '../shared/ids.js';
import type { Limits, Packing } from '../shared/limits.js';
import type { Log } from '../shared/log.js';
import { VERSION } from '../shared/version.js';
import type { Channel } from '../shared/wire/channel.js';
import type { ArtifactStore } from './artifacts/artifact-store.js';
import { MachineLedger } from './elastic/machine-ledger.js';
import type { MachineOperator } from './elastic/machine-operator.js';
import { Engine } from './engine/engine.js';
import { orderSource } from './engine/order-source.js';
import { AgentGateway } from './gateway/agent-session.js';
import { removeJobOutput } from './gateway/log-removal.js';
import type { TaskLogs } from './gateway/task-logs.js';
import type { MirrorOperator } from './hpc/operator/mirror-operator.js';
import { refuseMissing } from './hpc/operator/missing-targets.js';
import type { MachineRoom } from './machine-room.js';
import { Retention } from './retention.js';
import { DEFAULT_PLAN_POLICY } from './scheduler/plan.js';
import type { Pricing } from './scheduler/worth/pricing.js';
import type { SecretStore } from './secrets/secret-store.js';
import { collectArtifacts } from './service/artifacts-in-use.js';
import { openService, type Service } from './service/service.js';
import { SqliteStore } from './store/sqlite.js';
import { operateTargets, type TargetRoomOptions } from './target-room.js';

/** RFC 6455's "try again later". */
const TRY_AGAIN_LATER = 1013;

/** What requests and agents meet: the present service and gateway, or why there is none. It stays; lives come and go. */
export class Front {
  service: Service | Refusal = refuse('store-unavailable', 'the coordinator is reading its log');
  #gateway: AgentGateway | undefined;

  enter(service: Service, gateway: AgentGateway): void {
    this.service = service;
    this.#gateway = gateway;
  }

  leave(reason: Refusal): void {
    this.service = reason;
    this.#gateway = undefined;
  }

  accept(channel: Channel, ticketNode?: NodeId): void {
    if (this.#gateway) this.#gateway.accept(channel, ticketNode);
    else channel.close(TRY_AGAIN_LATER, 'the coordinator is not ready');
  }
}

export interface LifeOptions {
  readonly stateDir: string;
  readonly nodeLeaseMs: number;
  readonly keepJobsMs: number;
  readonly limits: Limits;
  readonly packing: Packing;
  readonly pricing: Pricing;
  readonly secrets: SecretStore;
  readonly logs: TaskLogs;
  readonly artifacts: ArtifactStore;
  readonly front: Front;
  readonly machines: MachineRoom;
  readonly targets: TargetRoomOptions;
  readonly log: Log;
}

interface Hanging {
  readonly gateway: AgentGateway;
  readonly service: Service;
  readonly operator: MachineOperator;
  readonly ledger: MachineLedger;
  readonly mirrors: MirrorOperator;
  readonly failed: Promise<unknown>;
  readonly retention: Retention;
  readonly log: Log;
}

/** One engine with what hangs on it, from the reading of the log to the failure of its store. */
export class Life {
  readonly #engine: Engine;
  readonly #gateway: AgentGateway;
  readonly #service: Service;
  readonly #operator: MachineOperator;
  readonly #ledger: MachineLedger;
  readonly #mirrors: MirrorOperator;
  readonly #failed: Promise<unknown>;
  readonly #retention: Retention;
  readonly #log: Log;
  #cancelCollection = (): void => {};

  private constructor(engine: Engine, hanging: Hanging) {
    this.#engine = engine;
    this.#gateway = hanging.gateway;
    this.#service = hanging.service;
    this.#operator = hanging.operator;
    this.#ledger = hanging.ledger;
    this.#mirrors = hanging.mirrors;
    this.#failed = hanging.failed;
    this.#retention = hanging.retention;
    this.#log = hanging.log;
    this.#collectLater();
  }

  /** Reads the log back and takes up the work. Throws what `Engine.open` throws, and what is missing for it. */
  static async begin(options: LifeOptions): Promise<Life> {
    const { stateDir, nodeLeaseMs, keepJobsMs, limits, packing, pricing, secrets, logs, artifacts, front } = options;
    const { machines, log } = options;
    let fail: (error: unknown) => void = () => {};
    const failed = new Promise<unknown>((resolve) => {
      fail = resolve;
    });
    let gateway: AgentGateway | undefined;
    let operator: MachineOperator | undefined;
    let mirrors: MirrorOperator | undefined;
    const store = new SqliteStore({ stateDir });
    const engine = await Engine.open({
      store,
      clock: systemClock,
      log,
      rules: { nodeLeaseMs, limits },
      planning: { ...DEFAULT_PLAN_POLICY, limits, packing },
      pricing,
      // Before there is a gateway no agent is connected, and an operator goes through all machines when it begins.
      perform: (effects) => {
        gateway?.perform(effects);
        operator?.perform(effects);
        mirrors?.perform(effects);
      },
      outlook: (request) => mirrors?.outlookOf(request),
      onFailure: fail,
    });
    const parts = { engine, logs, clock: systemClock };
    const missing = refuseMissing(engine.view, options.targets.targets);
    if (missing) {
      await engine.close();
      throw AppError.fromRefusal(missing);
    }
    gateway = new AgentGateway({ ...parts, log, version: VERSION, orders: orderSource(engine, secrets) });
    const ledger = await MachineLedger.open({
      ...{ view: engine.view, clock: systemClock, log },
      path: join(stateDir, 'machines.log'),
    });
    engine.onCommitted((events) => ledger.note(events));
    await machines.define(engine);
    operator = machines.operate(engine);
    mirrors = operateTargets(options.targets, engine);
    const service = openService({
      ...{ ...parts, artifacts, limits, packing, pricing, secrets },
      remotes: mirrors,
      usageOf: gateway.usageOf.bind(gateway),
      machines: {
        troubleOf: operator.troubleOf.bind(operator),
        refuseProvider: machines.refuseProvider.bind(machines),
        history: () => ledger.entries(),
      },
    });
    await mirrors.begin();
    front.enter(service, gateway);
    const retention = new Retention({
      ...{ archive: store, keepMs: keepJobsMs, clock: systemClock, log },
      removeOutput: (jobId) => removeJobOutput(stateDir, jobId),
    });
    return new Life(engine, { gateway, service, operator, mirrors, ledger, failed, retention, log });
  }

  /** The store's failure, or undefined when `stop` was aborted first. Rejects with what is not the store's fault. */
  async ended(stop: AbortSignal): Promise<AppError | undefined> {
    const failure = await Promise.race([this.#failed, aborted(stop)]);
    if (failure === undefined || isAppError(failure, 'store-unavailable')) return failure;
    throw failure;
  }

  async close(): Promise<void> {
    this.#cancelCollection();
    this.#service.close();
    this.#gateway.close();
    this.#operator.close();
    await this.#mirrors.close();
    await this.#retention.stop();
    await this.#engine.close();
    await this.#ledger.close();
  }

  /** Artifacts that no job refers to are deleted now and then; a failure waits for the next time. */
  #collectLater(): void {
    this.#cancelCollection = systemClock.after(ARTIFACT_LIMITS.collectEveryMs, () => {
      this.#collectLater();
      collectArtifacts(this.#service).then(
        ({ count, bytes }) => this.#log.info('unused artifacts deleted', { count, bytes }),
        (error: unknown) => this.#log.warn('artifacts could not be looked through', { error }),
      );
    });
  }
}

export function aborted(signal: AbortSignal): Promise<undefined> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve(undefined);
    else signal.addEventListener('abort', () => resolve(undefined), { once: true });
  });
}
