import { AppError } from '../../shared/errors.js';
import type { Server } from './context.js';

/** Reads JSON bodies. A request without a body says the same as one with an empty object. */
export function acceptJson(server: Server): void {
  // It refuses keys that would reach into prototypes.
  const parseJson = server.getDefaultJsonParser('error', 'error');
  server.removeContentTypeParser('application/json');
  server.addContentTypeParser('application/json', { parseAs: 'string' }, (request, body, done) => {
    const text = String(body);
    if (text === '') return done(null, undefined);
    parseJson(request, text, (error, document) => {
      if (error) done(new AppError('invalid-request', `the body is not JSON: ${whatIsWrong(text)}`));
      else done(null, document);
    });
  });
  server.addHook('preValidation', async (request) => {
    if (request.method === 'POST' && request.body === undefined) request.body = {};
  });
}

function whatIsWrong(text: string): string {
  try {
    JSON.parse(text);
    return 'a key of it has a meaning of its own in JavaScript';
  } catch (error) {
    return (error as SyntaxError).message;
  }
}
