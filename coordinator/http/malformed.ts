import { STATUS_CODES } from 'node:http';
import type { Socket } from 'node:net';
import { AppError, refuse } from '../../shared/errors.js';
import { documentOf, HttpFault, PROBLEM_TYPE, statusOf } from './problem.js';

/** Answers what is no HTTP request, or arrives too slowly, as a problem too; there is no request object for it. */
export function answerMalformed(error: Error & { readonly code?: string }, socket: Socket, requestId: string): void {
  // The peer has gone, or there is no TLS to answer in: nobody would read it.
  if (error.code === 'ECONNRESET' || error.code?.startsWith('ERR_SSL') || !socket.writable)
    return void socket.destroy();
  const fault = faultOf(error.code);
  const status = statusOf(fault);
  const body = JSON.stringify(documentOf(fault, requestId));
  const head = [
    `HTTP/1.1 ${status} ${STATUS_CODES[status] ?? ''}`,
    `Content-Type: ${PROBLEM_TYPE}`,
    `Content-Length: ${Buffer.byteLength(body)}`,
    'Connection: close',
  ];
  socket.end(`${head.join('\r\n')}\r\n\r\n${body}`);
}

function faultOf(code: string | undefined): AppError {
  switch (code) {
    case 'ERR_HTTP_REQUEST_TIMEOUT':
      return new HttpFault(408, refuse('invalid-request', 'the request did not arrive in time'));
    case 'HPE_HEADER_OVERFLOW':
      return new HttpFault(431, refuse('invalid-request', 'the headers are too large'));
    default:
      return new AppError('invalid-request', 'this is not an HTTP request');
  }
}
