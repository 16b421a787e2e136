import type { LogStream } from '../../../shared/wire/messages.js';

const HEADER_BYTES = 8;
const STDERR = 2;

export interface Frame {
  readonly stream: LogStream;
  readonly bytes: Uint8Array;
}

/**
 * What Docker sends of a container's output: both streams as one, in frames with a header of eight bytes: the stream's
 * number, three zeros, the length. Of its own copy each record is a frame. Ends however the source does: a daemon that
 * goes away in the middle leaves a last frame that is shorter.
 */
export async function* framesOf(source: AsyncIterable<Buffer>): AsyncGenerator<Frame> {
  let rest: Buffer = Buffer.alloc(0);
  try {
    for await (const chunk of source) {
      rest = rest.length === 0 ? chunk : Buffer.concat([rest, chunk]);
      for (let end = endOf(rest); end <= rest.length; end = endOf(rest)) {
        yield frameOf(rest.subarray(0, end));
        rest = rest.subarray(end);
      }
    }
  } catch {
    // Whoever reads asks what became of the container, and comes back.
  }
  if (rest.length > HEADER_BYTES) yield frameOf(rest);
}

function endOf(bytes: Buffer): number {
  return bytes.length < HEADER_BYTES ? Number.POSITIVE_INFINITY : HEADER_BYTES + bytes.readUInt32BE(4);
}

function frameOf(bytes: Buffer): Frame {
  return { stream: bytes[0] === STDERR ? 'stderr' : 'stdout', bytes: bytes.subarray(HEADER_BYTES) };
}
