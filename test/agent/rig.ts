import { Agent } from '../../agent/agent.js';
import type { Staging } from '../../agent/staging/staging.js';
import { MemoryAgentStore } from '../../agent/store/memory-store.js';
import type { AgentStore } from '../../agent/store/store.js';
import type { Clock } from '../../shared/clock.js';
import { AppError } from '../../shared/errors.js';
import type { AllocationId, NodeId } from '../../shared/ids.js';
import { type Log, silentLog } from '../../shared/log.js';
import type { AllocationEnd } from '../../shared/outcome.js';
import { seededRandom } from '../../shared/random.js';
import type { Usage } from '../../shared/usage.js';
import type { Channel } from '../../shared/wire/channel.js';
import type {
  Body,
  Heartbeat,
  Hello,
  Inventory,
  LogChunk,
  Report,
  StartOrder,
  StopOrder,
  Sync,
} from '../../shared/wire/messages.js';
import { Session } from '../../shared/wire/session.js';
import { FakeMachine } from '../fakes/fake-driver.js';
import { anInventory } from '../kit/builders.js';
import { ManualClock } from '../kit/manual-clock.js';
import { anOrder } from '../kit/wire-samples.js';
import { SimNetwork, type Weather } from '../sim/network.js';

export const idOf = (sequence: number): AllocationId => `j${sequence}.0#1` as AllocationId;

/** An order for the fake machine; `env` says what it would do. */
export function fakeOrder(
  allocationId: AllocationId,
  env: Record<string, string> = {},
  parts: Partial<StartOrder> = {},
) {
  return anOrder({ allocationId, env, workdir: null, gpus: [], timeLimitMs: null, ...parts });
}

/** A coordinator with one wish: that each of its orders ends once, and that it has its output. */
export class MiniCoordinator {
  readonly wanted = new Map<AllocationId, StartOrder>();
  readonly stops = new Map<AllocationId, StopOrder>();
  readonly hellos: Hello[] = [];
  /** Told after the hello. */
  readonly inventories: Inventory[] = [];
  readonly reports: Report[] = [];
  readonly heartbeats: Heartbeat[] = [];
  readonly ends = new Map<AllocationId, AllocationEnd>();
  readonly usages = new Map<AllocationId, Usage>();
  /** Standard output; standard error is below. */
  readonly output = new Map<AllocationId, Buffer>();
  readonly errors = new Map<AllocationId, Buffer>();
  /** In the order in which standard outputs became whole. */
  readonly complete: AllocationId[] = [];
  /** What is said instead of a welcome. */
  refusal: Extract<Body, { kind: 'refuse' }>['refuse'] | undefined;
  /** Reports are heard but never acknowledged. */
  isSlow = false;
  session: Session | undefined;
  readonly #clock: Clock;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  accept(channel: Channel): void {
    const session: Session = new Session(
      channel,
      {
        message: (body) => this.#hear(body, session),
        closed: () => {
          if (this.session === session) this.session = undefined;
        },
      },
      { clock: this.#clock, log: silentLog },
    );
    this.session = session;
  }

  start(...orders: StartOrder[]): void {
    for (const order of orders) this.wanted.set(order.allocationId, order);
    this.session?.send({ kind: 'orders', orders: { start: orders, stop: [] } });
  }

  stop(allocationId: AllocationId, reason: StopOrder['reason'] = 'canceled'): void {
    this.stops.set(allocationId, { allocationId, reason });
    this.session?.send({ kind: 'orders', orders: { start: [], stop: [{ allocationId, reason }] } });
  }

  phases(allocationId: AllocationId): string[] {
    return this.reports.filter((report) => report.allocationId === allocationId).map((report) => report.phase);
  }

  #hear(body: Body, session: Session): Promise<void> | void {
    switch (body.kind) {
      case 'hello':
        return this.#greet(body.hello, session);
      case 'reports':
        for (const report of body.reports) this.#note(report);
        return this.isSlow ? new Promise(() => {}) : undefined;
      case 'inventory':
        this.inventories.push(body.inventory);
        return undefined;
      case 'heartbeat':
        this.heartbeats.push(body.heartbeat);
        return undefined;
      case 'log-chunk':
        return this.#keep(body.chunk, session);
      default:
        return undefined;
    }
  }

  #greet(hello: Hello, session: Session): void {
    this.hellos.push(hello);
    if (this.refusal) {
      session.send({ kind: 'refuse', refuse: this.refusal });
      return;
    }
    session.send({ kind: 'welcome', welcome: { protocol: 1, version: 'test', heartbeatMs: 5_000 } });
    for (const { allocationId, end } of hello.held) if (end) this.ends.set(allocationId, end.end);
    session.send({ kind: 'sync', sync: this.#syncFor(hello) });
  }

  #syncFor({ held }: Hello): Sync {
    const ids = new Set(held.map(({ allocationId }) => allocationId));
    const live = held.filter(({ phase }) => phase !== 'ended').map(({ allocationId }) => allocationId);
    return {
      keep: live.filter((id) => !this.stops.has(id)),
      stop: [...this.stops.values()].filter(({ allocationId: id }) => !this.ends.has(id)),
      start: [...this.wanted.values()].filter(
        ({ allocationId: id }) => !ids.has(id) && !this.ends.has(id) && !this.stops.has(id),
      ),
      forget: held.filter(({ phase }) => phase === 'ended').map(({ allocationId }) => allocationId),
    };
  }

  #note(report: Report): void {
    this.reports.push(report);
    if (report.end) this.ends.set(report.allocationId, report.end.end);
    if (report.end?.usage) this.usages.set(report.allocationId, report.end.usage);
  }

  #keep(chunk: LogChunk, session: Session): void {
    const { allocationId, stream, offset, bytes, last } = chunk;
    const store = stream === 'stdout' ? this.output : this.errors;
    let kept = store.get(allocationId) ?? Buffer.alloc(0);
    const isNext = offset <= kept.length;
    if (isNext) kept = Buffer.concat([kept, bytes.subarray(kept.length - offset)]);
    store.set(allocationId, kept);
    const complete = isNext && last;
    if (complete && stream === 'stdout' && !this.complete.includes(allocationId)) this.complete.push(allocationId);
    session.send({ kind: 'log-ack', ack: { allocationId, stream, offset: kept.length, complete } });
  }
}

/** Messages arrive in order, which a WebSocket promises. */
export const CALM: Weather = { dropRate: 0, duplicateRate: 0, maxDelayMs: 1 };

/** One node and its coordinator under a manual clock; the agent may be dropped and made again. */
export class Rig {
  readonly clock = new ManualClock();
  readonly random = seededRandom(1);
  readonly machine = new FakeMachine(this.clock);
  readonly network = new SimNetwork(this.clock, this.random);
  readonly coordinator = new MiniCoordinator(this.clock);
  store: AgentStore = new MemoryAgentStore('identity-of-n1');
  log: Log = silentLog;
  staging: Staging | undefined;
  inventory: Inventory = anInventory();
  dialError: AppError | undefined;
  dialCount = 0;
  agent: Agent | undefined;
  /** Of the newest agent: settles when its `run` does. */
  ended: Promise<void> = Promise.resolve();

  constructor() {
    this.network.weather = CALM;
  }

  boot(): void {
    this.agent = new Agent({
      nodeId: 'n1' as NodeId,
      version: '0.1.0',
      bootId: this.machine.bootId,
      store: this.store,
      drivers: new Map([['process', this.machine.driver()]]),
      ...(this.staging === undefined ? {} : { staging: this.staging }),
      dial: async () => this.#dial(),
      clock: this.clock,
      random: this.random,
      log: this.log,
      inventory: async () => this.inventory,
      heartbeat: async () => ({ cpuUsedMillis: 0, memoryUsedMiB: 0, diskFreeMiB: 0, sentAt: 0, load: 0 }),
    });
    this.ended = this.agent.run();
    this.ended.catch(() => {});
  }

  crash(): void {
    this.agent?.abandon();
    this.network.reset('n1');
  }

  async pass(durationMs: number): Promise<void> {
    await this.clock.advance(durationMs);
  }

  #dial(): Channel {
    this.dialCount += 1;
    if (this.dialError) throw this.dialError;
    const ends = this.network.connect('n1');
    if (!ends) throw new AppError('unreachable', 'no route');
    this.coordinator.accept(ends.coordinatorEnd);
    return ends.agentEnd;
  }
}
