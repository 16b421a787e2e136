import type { Preparation } from '../../shared/preparation.js';

/** A job as the API shows it; only what tests and benches read. */
export interface JobView {
  readonly id: string;
  readonly state: 'held' | 'active' | 'canceling' | 'finished';
  readonly outcome: 'succeeded' | 'failed' | 'canceled' | null;
  readonly exitCode: number | null;
  readonly taskCount: number;
  readonly submittedAt: string;
  readonly startedAt: string | null;
  readonly finishedAt: string | null;
  readonly waitingReason: string | null;
  readonly counts: Readonly<Record<string, number>>;
}

export interface TaskView {
  readonly id: string;
  readonly index: number;
  readonly state: 'blocked' | 'queued' | 'placed' | 'done';
  readonly outcome: { readonly kind: string } | null;
  readonly exitCode: number | null;
  readonly attempt: number;
  readonly reason: string | null;
  readonly preparation?: Preparation;
}

export interface ApiAnswer {
  readonly status: number;
  readonly text: string;
}

const LONG_POLL = '30s';
const RETRY_MS = 100;
const REQUEST_LIMIT_MS = 45_000;
const PAGE = 500;

/** The coordinator's HTTP API as a test speaks it: plain fetch, no client code of ours in between. */
export class Api {
  readonly #url: string;
  readonly #token: string;

  constructor(url: string, token: string) {
    this.#url = url;
    this.#token = token;
  }

  /** One request. Throws when there is no answer. */
  async request(method: string, path: string, body?: object): Promise<ApiAnswer> {
    const response = await fetch(this.#url + path, {
      method,
      headers: {
        authorization: `Bearer ${this.#token}`,
        ...(body === undefined ? {} : { 'content-type': 'application/json' }),
      },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
      signal: AbortSignal.timeout(REQUEST_LIMIT_MS),
    });
    return { status: response.status, text: await response.text() };
  }

  /** The JSON of a 2xx answer; throws with the answer's text otherwise. */
  async json<T>(method: string, path: string, body?: object): Promise<T> {
    const answer = await this.request(method, path, body);
    if (answer.status >= 300) throw new Error(`${method} ${path}: ${answer.status} ${answer.text}`);
    return JSON.parse(answer.text) as T;
  }

  async submit(spec: object): Promise<JobView> {
    return (await this.json<{ job: JobView }>('POST', '/v1/jobs', spec)).job;
  }

  /** Waits through restarts of the coordinator. Throws with the job's last view when the limit passes. */
  async finished(jobId: string, limitMs: number): Promise<JobView> {
    const until = Date.now() + limitMs;
    let last: JobView | undefined;
    while (Date.now() < until) {
      last = (await this.#poll(jobId)) ?? last;
      if (last?.state === 'finished') return last;
    }
    throw new Error(`${jobId} is not finished after ${limitMs} ms: ${JSON.stringify(last)}`);
  }

  /** Every task of a job, page by page, in order. */
  async tasks(jobId: string): Promise<readonly TaskView[]> {
    const found: TaskView[] = [];
    let cursor = '';
    do {
      const query = `limit=${PAGE}${cursor === '' ? '' : `&cursor=${encodeURIComponent(cursor)}`}`;
      const page = await this.json<{ tasks: readonly TaskView[]; nextCursor: string | null }>(
        'GET',
        `/v1/jobs/${jobId}/tasks?${query}`,
      );
      found.push(...page.tasks);
      cursor = page.nextCursor ?? '';
    } while (cursor !== '');
    return found;
  }

  async #poll(jobId: string): Promise<JobView | undefined> {
    try {
      return await this.json<JobView>('GET', `/v1/jobs/${jobId}?waitFor=finished&timeout=${LONG_POLL}`);
    } catch {
      // The coordinator is being restarted, or the poll was cut off; ask again.
      await new Promise((resolve) => setTimeout(resolve, RETRY_MS));
      return undefined;
    }
  }
}
