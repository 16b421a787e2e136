import type { FastifyRequest, RouteOptions } from 'fastify';
import { AppError, refuse } from '../../shared/errors.js';
import { HttpFault } from './problem.js';

interface Route {
  readonly pattern: RegExp;
  readonly methods: Set<string>;
}

/** Which paths there are, so that a wrong method is told from a wrong path. */
export class RouteTable {
  readonly #routes = new Map<string, Route>();

  add({ url, method }: RouteOptions): void {
    const pattern = new RegExp(`^${url.replaceAll('.', '\\.').replaceAll(/:\w+/g, '[^/]+')}$`);
    const route = this.#routes.get(url) ?? { pattern, methods: new Set() };
    for (const name of [method].flat()) route.methods.add(name);
    this.#routes.set(url, route);
  }

  /** 405 when the path is known with other methods, else 404. */
  faultFor({ method, url }: FastifyRequest): AppError {
    const path = url.split('?', 1)[0] ?? url;
    const allowed = [...this.#routes.values()].find(({ pattern }) => pattern.test(path))?.methods;
    if (!allowed) {
      return new AppError('not-found', `there is no ${path}`, { hint: 'see /openapi.json' });
    }
    const methods = [...allowed].join(', ');
    return new HttpFault(
      405,
      refuse('invalid-request', `${method} is not possible on ${path}`, { hint: `use ${methods}` }),
    );
  }
}
