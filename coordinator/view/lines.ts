import { AppError } from '../../shared/errors.js';

const NEWLINE = 0x0a;
const MAX_LINE_BYTES = 16 * 1024 * 1024;

/** The lines of a byte stream without their newline; a last line without one counts. */
export async function* linesOf(pieces: AsyncIterable<Buffer>): AsyncGenerator<string> {
  let rest: Buffer[] = [];
  let restBytes = 0;
  for await (const piece of pieces) {
    let from = 0;
    for (let at = piece.indexOf(NEWLINE); at !== -1; at = piece.indexOf(NEWLINE, from)) {
      yield Buffer.concat([...rest, piece.subarray(from, at)]).toString('utf8');
      rest = [];
      restBytes = 0;
      from = at + 1;
    }
    if (from < piece.length) rest.push(piece.subarray(from));
    restBytes += piece.length - from;
    if (restBytes > MAX_LINE_BYTES) throw new AppError('internal', 'the coordinator sent an endless line');
  }
  if (restBytes > 0) yield Buffer.concat(rest).toString('utf8');
}
