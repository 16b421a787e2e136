import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { ArtifactStore } from '../../coordinator/artifacts/artifact-store.js';
import { FileArtifactStore } from '../../coordinator/artifacts/file-artifact-store.js';
import { MachineLedger } from '../../coordinator/elastic/machine-ledger.js';
import { loadProvider } from '../../coordinator/elastic/provider-kinds.js';
import { refuseProvider } from '../../coordinator/elastic/refuse-provider.js';
import { Engine } from '../../coordinator/engine/engine.js';
import { TaskLogs } from '../../coordinator/gateway/task-logs.js';
import type { Server } from '../../coordinator/http/context.js';
import type { ProblemDocument } from '../../coordinator/http/problem.js';
import { buildServer } from '../../coordinator/http/server.js';
import type { MemoryLimits } from '../../coordinator/model/memory-limits.js';
import { serialize } from '../../coordinator/model/snapshot.js';
import { DEFAULT_PLAN_POLICY } from '../../coordinator/scheduler/plan.js';
import { ImmediatePricing } from '../../coordinator/scheduler/worth/pricing.js';
import { SecretStore } from '../../coordinator/secrets/secret-store.js';
import type { JobView } from '../../coordinator/service/present-job.js';
import type { NodeView } from '../../coordinator/service/present-node.js';
import type { MachineView, PoolView } from '../../coordinator/service/present-pool.js';
import type { AttemptView, TaskView } from '../../coordinator/service/present-task.js';
import { type NodeSample, openService, type Service } from '../../coordinator/service/service.js';
import type { WhyView } from '../../coordinator/service/why.js';
import { MemoryStore } from '../../coordinator/store/memory.js';
import { type Clock, systemClock } from '../../shared/clock.js';
import type { Refusal } from '../../shared/errors.js';
import { type AllocationId, type NodeId, parseAllocationId } from '../../shared/ids.js';
import { NO_LIMITS } from '../../shared/limits.js';
import { type LogFields, silentLog } from '../../shared/log.js';
import type { AllocationEnd } from '../../shared/outcome.js';
import type { AttemptPreparation } from '../../shared/preparation.js';
import { systemRandom } from '../../shared/random.js';
import type { Usage } from '../../shared/usage.js';
import type { LogStream } from '../../shared/wire/messages.js';
import { aHello } from './builders.js';
import { LEASE_MS } from './scenario.js';

export const TOKEN = 'berth_admin_test';
export const AGENT_TOKEN = 'berth_agent_test';

export interface Answer {
  readonly status: number;
  readonly headers: Headers;
  readonly text: string;
  /** The text as JSON; undefined when it is none. */
  readonly body: Documents;
}

/** What is read of any document, each field by the tests of the route that answers with it. */
export interface Documents extends ProblemDocument {
  readonly state: string;
  readonly job: JobView;
  readonly jobs: readonly JobView[];
  readonly tasks: readonly TaskView[];
  readonly nodes: readonly NodeView[];
  readonly pools: readonly PoolView[];
  readonly machines: readonly MachineView[];
  readonly attempts: readonly AttemptView[];
  readonly waiting: WhyView['waiting'];
  readonly nextCursor: string | null;
}

export interface SendOptions {
  readonly body?: object | string;
  readonly headers?: Readonly<Record<string, string>>;
  /** TOKEN when absent; null sends none. */
  readonly token?: string | null;
}

export interface TestServerOptions {
  /** How many times faster than ours the service's clock runs: long poll, ping and recheck come sooner. */
  readonly speed?: number;
  readonly retainedEventCount?: number;
  /** MEMORY_LIMITS when absent. */
  readonly memory?: MemoryLimits;
}

interface TestServerParts {
  readonly store: MemoryStore;
  readonly engine: Engine;
  readonly logs: TaskLogs;
  readonly artifacts: ArtifactStore;
  readonly secrets: SecretStore;
  readonly clock: Clock;
  readonly ledger: MachineLedger;
  readonly folder: string;
}

/** The real interface on a real socket, over the real engine on a store in memory and task logs on disk. */
export class TestServer {
  readonly server: Server;
  readonly engine: Engine;
  readonly logs: TaskLogs;
  readonly service: Service;
  /** What `service()` answers instead of the service, when set. */
  outage: Refusal | undefined;
  readonly errors: LogFields[] = [];
  /** What the newest heartbeat of each node says of attempts that are being prepared. */
  readonly preparing = new Map<string, readonly AttemptPreparation[]>();
  /** What providers say, by pool. */
  readonly troubles = new Map<string, string>();
  readonly #store: MemoryStore;
  readonly #ledger: MachineLedger;
  readonly #folder: string;
  #url = '';

  constructor(parts: TestServerParts) {
    const { store, engine, logs, artifacts, secrets, clock, ledger, folder } = parts;
    this.#store = store;
    this.engine = engine;
    this.logs = logs;
    this.#folder = folder;
    this.#ledger = ledger;
    this.service = openService({
      engine,
      logs,
      artifacts,
      secrets,
      machines: {
        troubleOf: (pool) => this.troubles.get(pool),
        history: () => ledger.entries(),
        refuseProvider: (spec) =>
          refuseProvider(spec, async () => {
            const factory = await loadProvider(spec.provider.kind);
            return factory(spec.provider.settings, {
              stateDir: folder,
              secret: () => undefined,
              environment: {},
              clock,
            });
          }),
      },
      remotes: {
        refuse: async () => undefined,
        secretSet: () => {},
        stateOf: () => undefined,
        outlookOf: () => undefined,
      },
      clock,
      limits: { ...NO_LIMITS, secretKeys: secrets.secretKeys },
      packing: 'pack',
      pricing: new ImmediatePricing(),
      usageOf: (nodeId) => this.#sampleOf(nodeId),
    });
    this.server = buildServer({
      service: () => this.outage ?? this.service,
      authenticate: (token) => (token === TOKEN ? { name: 'admin' } : undefined),
      isAgentToken: (token) => token === AGENT_TOKEN,
      version: '0.1.0-test',
      random: systemRandom,
      log: { ...silentLog, error: (_message, fields = {}) => void this.errors.push(fields) },
    });
  }

  get url(): string {
    return this.#url;
  }

  async listen(): Promise<void> {
    await this.server.listen({ host: '127.0.0.1', port: 0 });
    this.#url = `http://127.0.0.1:${(this.server.server.address() as AddressInfo).port}`;
  }

  async close(): Promise<void> {
    await this.server.close();
    this.service.close();
    await this.engine.close();
    await this.#ledger.close();
    await this.logs.close();
    rmSync(this.#folder, { recursive: true, force: true });
  }

  /** Opens a request; the answer's body is the caller's to read. */
  open(method: string, path: string, options: SendOptions & { readonly signal?: AbortSignal } = {}): Promise<Response> {
    const { body, headers = {}, token = TOKEN, signal } = options;
    return fetch(this.#url + path, {
      method,
      headers: {
        ...(token === null ? {} : { authorization: `Bearer ${token}` }),
        ...(typeof body === 'object' ? { 'content-type': 'application/json' } : {}),
        ...headers,
      },
      ...(body === undefined ? {} : { body: typeof body === 'string' ? body : JSON.stringify(body) }),
      ...(signal === undefined ? {} : { signal }),
    });
  }

  async send(method: string, path: string, options: SendOptions = {}): Promise<Answer> {
    const response = await this.open(method, path, options);
    const text = await response.text();
    const isJson = /json$/.test((response.headers.get('content-type') ?? '').split(';')[0] ?? '');
    return {
      status: response.status,
      headers: response.headers,
      text,
      body: isJson && text !== '' ? JSON.parse(text) : undefined,
    };
  }

  get(path: string, options: SendOptions = {}): Promise<Answer> {
    return this.send('GET', path, options);
  }

  post(path: string, body?: object | string, options: SendOptions = {}): Promise<Answer> {
    return this.send('POST', path, { ...options, ...(body === undefined ? {} : { body }) });
  }

  /** The id of a job submitted with this document. */
  async submit(document: object): Promise<string> {
    const answer = await this.post('/v1/jobs', document);
    if (answer.status !== 201) throw new Error(`not accepted: ${answer.text}`);
    return answer.body.job.id;
  }

  /** A node of four CPUs joins, or comes back. */
  async join(name: string): Promise<void> {
    await this.engine.handle({ type: 'agentJoined', hello: aHello(name) });
  }

  /** The node says that the attempt runs. */
  async started(id: string): Promise<void> {
    const allocationId = id as AllocationId;
    const report = { allocationId, phase: 'running', ageMs: 0 } as const;
    await this.engine.handle({ type: 'agentReported', nodeId: this.#nodeOf(allocationId), report });
  }

  /** The node says how the attempt ended, and how many bytes it wrote to stdout. */
  async ended(
    id: string,
    end: AllocationEnd = { kind: 'exited', exitCode: 0, ranMs: 5 },
    stdoutBytes = 0,
    usage: Usage | null = null,
  ): Promise<void> {
    const allocationId = id as AllocationId;
    const reported = { end, stdoutBytes, stderrBytes: 0, ...(usage === null ? {} : { usage }) };
    const report = { allocationId, phase: 'ended', ageMs: 0, end: reported } as const;
    await this.engine.handle({ type: 'agentReported', nodeId: this.#nodeOf(allocationId), report });
  }

  /** Output of the attempt arrives behind what has arrived before. */
  async wrote(id: string, text: string | Uint8Array, more: { stream?: LogStream; last?: boolean } = {}): Promise<void> {
    const ref = parseAllocationId(id);
    if (!ref) throw new Error(`${id} is no allocation id`);
    const stream = more.stream ?? 'stdout';
    const bytes = typeof text === 'string' ? Buffer.from(text) : text;
    const offset = await this.logs.size(ref, stream);
    await this.logs.write({ allocationId: id as AllocationId, stream, offset, bytes, last: more.last ?? false });
  }

  /** Uploads that are under way, as files. */
  artifactDrafts(): readonly string[] {
    return readdirSync(join(this.#folder, 'artifacts', 'incoming'));
  }

  /** Events older than the retained ones are gone afterwards. */
  async forgetOldEvents(): Promise<void> {
    await this.#store.saveSnapshot({ seq: this.engine.view.lastSeq, body: serialize(this.engine.view) });
  }

  #sampleOf(nodeId: NodeId): NodeSample | undefined {
    const preparing = this.preparing.get(nodeId);
    if (preparing === undefined) return undefined;
    const idle = { cpuUsedMillis: 0, memoryUsedMiB: 0, diskFreeMiB: 0, sentAt: 0, load: 0 };
    return { heartbeat: { ...idle, preparing }, clockOffsetMs: 0 };
  }

  #nodeOf(id: AllocationId): NodeId {
    const allocation = this.engine.view.allocations.get(id);
    if (!allocation) throw new Error(`there is no allocation ${id}`);
    return allocation.nodeId;
  }
}

export async function startServer(options: TestServerOptions = {}): Promise<TestServer> {
  const folder = mkdtempSync(join(tmpdir(), 'berth-http-'));
  const clock = fastClock(options.speed ?? 1);
  const { retainedEventCount } = options;
  const store = new MemoryStore(retainedEventCount === undefined ? {} : { retainedEventCount });
  const base = { stateDir: folder, clock: systemClock, random: systemRandom, log: silentLog };
  const secrets = await SecretStore.open({ ...base, keys: { kind: 'file', path: join(folder, 'secrets.key') } });
  const limits = { ...NO_LIMITS, secretKeys: secrets.secretKeys };
  const engine = await Engine.open({
    store,
    ...(options.memory ? { memory: options.memory } : {}),
    clock: systemClock,
    log: silentLog,
    rules: { nodeLeaseMs: LEASE_MS, limits },
    planning: { ...DEFAULT_PLAN_POLICY, limits },
    pricing: new ImmediatePricing(),
    perform: () => {},
    onFailure: () => {},
  });
  const logs = new TaskLogs(base);
  const artifacts = await FileArtifactStore.open({ ...base, folder: join(folder, 'artifacts') });
  const ledger = await MachineLedger.open({ ...base, view: engine.view, path: join(folder, 'machines.log') });
  engine.onCommitted((events) => ledger.note(events));
  const server = new TestServer({ store, engine, logs, artifacts, secrets, clock, ledger, folder });
  await server.listen();
  return server;
}

/** The machine's clock, whose durations pass `speed` times as fast. */
function fastClock(speed: number): Clock {
  return {
    ...systemClock,
    monotonic: () => systemClock.monotonic() * speed,
    after: (delayMs, fire) => systemClock.after(delayMs / speed, fire),
  };
}

/** The lines of a stream, one at a time. */
export async function* linesOf(response: Response): AsyncGenerator<string> {
  const decoder = new TextDecoder();
  let rest = '';
  for await (const piece of response.body ?? []) {
    rest += decoder.decode(piece as Uint8Array, { stream: true });
    const lines = rest.split('\n');
    rest = lines.pop() ?? '';
    yield* lines;
  }
  if (rest !== '') yield rest;
}
