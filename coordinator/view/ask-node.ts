import { AppError, isAppError } from '../../shared/errors.js';
import { suggest } from '../../shared/suggest.js';
import type { NodeView } from './api.js';
import type { ApiRequest } from './client.js';
import type { Context } from './context.js';

/** A request about one node; an unknown one is answered with the name that was probably meant. */
export async function askOfNode<Document>(context: Context, name: string, request: ApiRequest): Promise<Document> {
  try {
    return await context.api.document<Document>(request);
  } catch (error) {
    if (!isAppError(error, 'not-found')) throw error;
    const { nodes } = await context.api.get<{ nodes: readonly NodeView[] }>('/nodes');
    const near = suggest(
      name,
      nodes.map((node) => node.name),
    );
    const hint = near === undefined ? '`berth nodes` lists them' : `did you mean ${near}?`;
    throw new AppError('not-found', `there is no node "${name}"`, { cause: error, hint });
  }
}
