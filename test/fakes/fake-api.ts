import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo, Socket } from 'node:net';
import type { JobView, NodeView, OutputChunk, TaskView } from '../../coordinator/view/api.js';

/** What the fake was asked, for tests of what a client sends. */
export interface SeenRequest {
  readonly method: string;
  readonly path: string;
  readonly query: Readonly<Record<string, string>>;
  readonly headers: IncomingMessage['headers'];
  readonly body: unknown;
}

const NO_COUNTS = { blocked: 0, queued: 0, placed: 0, succeeded: 0, failed: 0, canceled: 0, dropped: 0 };

export function aJob(id: string, changes: Partial<JobView> = {}): JobView {
  return {
    id,
    name: 'job',
    namespace: 'default',
    priority: 0,
    labels: {},
    state: 'active',
    outcome: null,
    reason: null,
    exitCode: null,
    submittedAt: '2026-11-30T12:00:00.000Z',
    submittedBy: 'admin',
    startedAt: null,
    finishedAt: null,
    counts: { ...NO_COUNTS, placed: 1 },
    taskCount: 1,
    steps: [],
    waitingReason: null,
    ...changes,
  };
}

export function finished(exitCode: number, changes: Partial<JobView> = {}): Partial<JobView> {
  const outcome = exitCode === 0 ? 'succeeded' : 'failed';
  return { state: 'finished', outcome, exitCode, counts: { ...NO_COUNTS, [outcome]: 1 }, ...changes };
}

export function aTask(id: string, changes: Partial<TaskView> = {}): TaskView {
  const parts = id.split('.');
  return {
    id,
    jobId: parts[0] ?? '',
    step: parts.length > 2 ? (parts[1] ?? '') : 'main',
    index: Number(parts.at(-1)),
    state: 'placed',
    outcome: null,
    exitCode: null,
    attempt: 1,
    node: 'n1',
    reason: null,
    notBefore: null,
    ...changes,
  };
}

export function aNode(name: string, changes: Partial<NodeView> = {}): NodeView {
  const sizes = { cpuMillis: 8000, memoryMiB: 16384, diskMiB: 102400, gpuCount: 0 };
  return {
    name,
    state: 'ready',
    link: 'connected',
    intake: 'open',
    reason: null,
    version: '0.1.0',
    capacity: sizes,
    free: { ...sizes, cpuMillis: 6500 },
    gpus: [],
    labels: { zone: 'eu' },
    attributes: { arch: 'x64' },
    drivers: ['process'],
    allocations: 1,
    usage: null,
    registeredAt: '2026-11-30T12:00:00.000Z',
    since: '2026-11-30T12:00:00.000Z',
    ...changes,
  };
}

/** An answer of the fake: a document, a problem, or whatever the function does with the response. */
type Answer = { readonly status: number; readonly document: unknown } | ((response: ServerResponse) => void);

/** The coordinator's HTTP interface over plain maps, which can break connections and come back on the same port. */
export class FakeApi {
  readonly token = 'secret';
  readonly jobs = new Map<string, JobView>();
  readonly tasks = new Map<string, TaskView>();
  readonly nodes = new Map<string, NodeView>();
  /** All output of a job, in arrival order. */
  readonly output = new Map<string, OutputChunk[]>();
  readonly events: { seq: number; at: string; type: string }[] = [];
  readonly seen: SeenRequest[] = [];
  readonly waiting = new Map<string, unknown>();
  /** What submitted jobs are like at once. */
  template: Partial<JobView> = {};
  /** Followed output ends with what there is, as when a coordinator stops in good order. */
  closesStreams = false;
  /** So many further submissions are taken over and then lose their connection before the answer. */
  losesSubmissions = 0;
  /** What is answered to a submission instead of accepting it. */
  refusesSubmission: object | undefined;
  #keys = new Map<string, string>();
  #server: Server | undefined;
  #port = 0;
  #sockets = new Set<Socket>();
  #listeners = new Set<() => void>();

  get url(): string {
    return `http://127.0.0.1:${this.#port}`;
  }

  async start(): Promise<void> {
    this.#server = createServer((request, response) => void this.#serve(request, response));
    this.#server.on('connection', (socket) => {
      this.#sockets.add(socket);
      socket.on('close', () => this.#sockets.delete(socket));
    });
    await new Promise<void>((resolve) => this.#server?.listen(this.#port, '127.0.0.1', resolve));
    this.#port = (this.#server.address() as AddressInfo).port;
  }

  async stop(): Promise<void> {
    const closed = new Promise((resolve) => this.#server?.close(resolve));
    this.breakConnections();
    await closed;
  }

  breakConnections(): void {
    for (const socket of this.#sockets) socket.destroy();
  }

  change(id: string, changes: Partial<JobView>): void {
    this.jobs.set(id, { ...(this.jobs.get(id) ?? aJob(id)), ...changes });
    this.#notify();
  }

  write(id: string, chunk: Omit<OutputChunk, 'offset' | 'attempt'> & Partial<OutputChunk>): void {
    const chunks = this.output.get(id) ?? [];
    const before = chunks.filter(({ task, stream }) => task === chunk.task && stream === chunk.stream);
    const offset = before.reduce((sum, each) => sum + bytesOf(each).length, 0);
    this.output.set(id, [...chunks, { offset, attempt: 1, ...chunk }]);
    this.#notify();
  }

  /** Resolves once `claim` holds, looked at after every request and change. */
  async until(claim: () => boolean): Promise<void> {
    while (!claim()) await this.#changed();
  }

  #changed(): Promise<void> {
    return new Promise((resolve) => {
      const listener = (): void => {
        this.#listeners.delete(listener);
        resolve();
      };
      this.#listeners.add(listener);
    });
  }

  #notify(): void {
    for (const listener of [...this.#listeners]) listener();
  }

  async #serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const url = new URL(request.url ?? '/', 'http://fake');
    let text = '';
    for await (const piece of request.setEncoding('utf8')) text += piece;
    const seen: SeenRequest = {
      method: request.method ?? '',
      path: url.pathname,
      query: Object.fromEntries(url.searchParams),
      headers: request.headers,
      body: text === '' ? undefined : JSON.parse(text),
    };
    this.seen.push(seen);
    this.#notify();
    if (url.pathname !== '/healthz' && request.headers.authorization !== `Bearer ${this.token}`) {
      return send(response, problem(401, 'unauthenticated', 'the token is unknown'));
    }
    const answer = await this.#answer(seen, response);
    if (typeof answer === 'function') answer(response);
    else send(response, answer);
  }

  async #answer(seen: SeenRequest, response: ServerResponse): Promise<Answer> {
    const [area = '', id, part, task, last] = seen.path
      .replace(/^\/v1\//, '/')
      .split('/')
      .slice(1)
      .map(decodeURIComponent);
    if (area === 'healthz') return ok({ status: 'ok', version: '0.1.0', lastSeq: this.events.length });
    if (area === 'events') return this.#eventStream(Number(seen.query.after ?? 0));
    if (area === 'nodes') return this.#node(seen, id, part);
    if (area !== 'jobs') return problem(404, 'not-found', 'no such path');
    if (id === undefined) return seen.method === 'POST' ? this.#submit(seen) : this.#list(seen);
    const job = this.jobs.get(id);
    if (job === undefined) return problem(404, 'not-found', `there is no job "${id}"`);
    if (part === undefined) return ok(await this.#waited(seen, job));
    if (part === 'why') return ok(this.waiting.get(id) ?? { job: id, phase: job.state, waiting: [], routes: [] });
    if (part === 'receipt') return ok({ job: id, receipt: null });
    if (part === 'logs') return (answer) => void this.#jobLogs(answer, id, seen.query.follow === 'true');
    if (part === 'tasks' && last === 'logs') return () => void this.#taskLogs(response, `${id}.${task}`, seen);
    if (part === 'tasks') return this.#tasksOf(id, task, seen);
    return this.#changeJob(job, part, seen);
  }

  #submit({ headers, body }: SeenRequest): Answer {
    if (this.refusesSubmission) return { status: 422, document: this.refusesSubmission };
    const key = String(headers['idempotency-key'] ?? '');
    const known = this.#keys.get(key);
    const id = known ?? `j${this.jobs.size + 1}`;
    if (known === undefined) {
      const { name } = body as { name: string };
      this.jobs.set(id, aJob(id, { name, ...this.template }));
      this.#keys.set(key, id);
    }
    this.#notify();
    if (this.losesSubmissions > 0) {
      this.losesSubmissions -= 1;
      return (response) => void response.destroy();
    }
    return { status: known === undefined ? 201 : 200, document: { job: this.jobs.get(id) } };
  }

  #list({ query }: SeenRequest): Answer {
    const isShown = (job: JobView): boolean => {
      if (query.name !== undefined && job.name !== query.name) return false;
      if (query.state === 'unfinished') return job.state !== 'finished';
      return query.state === undefined || job.state === query.state;
    };
    const shown = [...this.jobs.values()].filter(isShown).reverse();
    const from = Number(query.cursor ?? 0);
    const to = from + Number(query.limit ?? 50);
    return ok({ jobs: shown.slice(from, to), nextCursor: to < shown.length ? String(to) : null });
  }

  async #waited({ query }: SeenRequest, job: JobView): Promise<JobView> {
    const until = Date.now() + Number.parseInt(query.timeout ?? '0', 10) * 1000;
    const current = (): JobView => this.jobs.get(job.id) ?? job;
    while (query.waitFor === 'finished' && current().state !== 'finished' && Date.now() < until) {
      let timer: NodeJS.Timeout | undefined;
      const timeout = new Promise((resolve) => {
        timer = setTimeout(resolve, until - Date.now());
        timer.unref();
      });
      await Promise.race([this.#changed(), timeout]);
      clearTimeout(timer);
    }
    return current();
  }

  #changeJob(job: JobView, verb: string, _: SeenRequest): Answer {
    if (job.state === 'finished') return problem(409, 'conflict', `${job.id} is finished`);
    const state = verb === 'cancel' ? 'canceling' : verb === 'hold' ? 'held' : 'active';
    this.change(job.id, { state });
    return ok(this.jobs.get(job.id));
  }

  #tasksOf(id: string, task: string | undefined, { query }: SeenRequest): Answer {
    if (task !== undefined) {
      const view = this.tasks.get(`${id}.${task}`);
      return view ? ok(view) : problem(404, 'not-found', `${id} has no task ${task}`);
    }
    const tasks = [...this.tasks.values()].filter((view) => view.jobId === id);
    return ok({ tasks: tasks.slice(0, Number(query.limit)), nextCursor: null });
  }

  #node({ method, body }: SeenRequest, name: string | undefined, verb: string | undefined): Answer {
    if (name === undefined) return ok({ nodes: [...this.nodes.values()] });
    const node = this.nodes.get(name);
    if (node === undefined) return problem(404, 'not-found', `there is no node "${name}"`);
    if (method === 'DELETE') this.nodes.delete(name);
    if (verb === undefined) return ok(node);
    const intake = { drain: 'draining', cordon: 'cordoned', open: 'open' }[verb] ?? 'open';
    const state = intake === 'open' ? 'ready' : intake;
    const changed = { ...node, state, intake, reason: (body as { reason?: string }).reason ?? null };
    this.nodes.set(name, changed);
    return ok(changed);
  }

  async #jobLogs(response: ServerResponse, id: string, follows: boolean): Promise<void> {
    response.writeHead(200, { 'content-type': 'application/x-ndjson' });
    response.flushHeaders();
    let position = 0;
    for (;;) {
      const chunks = this.output.get(id) ?? [];
      for (; position < chunks.length; position += 1) response.write(`${JSON.stringify(chunks[position])}\n`);
      if (!follows || this.closesStreams || this.jobs.get(id)?.state === 'finished') break;
      await this.#changed();
    }
    response.end();
  }

  async #taskLogs(response: ServerResponse, taskId: string, { query }: SeenRequest): Promise<void> {
    const attempt = Number(query.attempt ?? 1);
    const whole = (): Buffer => {
      const chunks = this.output.get(taskId.split('.')[0] ?? '') ?? [];
      const own = chunks.filter(
        (each) => each.task === taskId && each.stream === query.stream && each.attempt === attempt,
      );
      return Buffer.concat(own.map(bytesOf));
    };
    const isOver = (): boolean =>
      this.tasks.get(taskId)?.attempts?.find((each) => each.attempt === attempt)?.state === 'ended';
    response.writeHead(200, { 'content-type': 'application/octet-stream', 'berth-attempt': String(attempt) });
    response.flushHeaders();
    let offset = Number(query.offset ?? 0);
    for (;;) {
      const bytes = whole().subarray(offset);
      offset += bytes.length;
      if (bytes.length > 0) response.write(bytes);
      if (query.follow !== 'true' || isOver()) break;
      await this.#changed();
    }
    response.end();
  }

  #eventStream(after: number): Answer {
    return (response) => {
      response.writeHead(200, { 'content-type': 'text/event-stream' });
      response.write(': ping\n\n');
      for (const event of this.events.filter(({ seq }) => seq > after)) {
        response.write(`id: ${event.seq}\nevent: ${event.type}\ndata: ${JSON.stringify(event)}\n\n`);
      }
    };
  }
}

function bytesOf(chunk: OutputChunk): Buffer {
  return chunk.base64 === undefined ? Buffer.from(chunk.text ?? '') : Buffer.from(chunk.base64, 'base64');
}

function ok(document: unknown): Answer {
  return { status: 200, document };
}

function problem(status: number, code: string, detail: string): { status: number; document: object } {
  return { status, document: { type: `urn:berth:error:${code}`, title: code, status, code, detail } };
}

function send(response: ServerResponse, { status, document }: { status: number; document: unknown }): void {
  const type = status < 400 ? 'application/json' : 'application/problem+json';
  response.writeHead(status, { 'content-type': type });
  response.end(JSON.stringify(document));
}
