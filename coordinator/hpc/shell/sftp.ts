import type { SFTPWrapper } from 'ssh2';
import { type FilePart, HpcError, type WriteOptions } from '../backend.js';
import { HPC_LIMITS } from '../remote-job.js';

/** Status codes of SFTP, version 3. */
const END_OF_FILE = 1;
const NO_SUCH_FILE = 2;
const PERMISSION_DENIED = 3;

/** What servers take at once. */
const MAX_PACKET_BYTES = 32 * 1024;

type Callback<Value> = (error: Error | null | undefined, value: Value) => void;

export async function readPart(sftp: SFTPWrapper, path: string, part: FilePart): Promise<Uint8Array | null> {
  const handle = await opened(sftp, path, 'r', 0).catch((error: unknown) => {
    if (statusOf(error) === NO_SUCH_FILE) return null;
    throw fileError(error, `reading ${path}`);
  });
  if (handle === null) return null;
  try {
    return await readAll(sftp, handle, part);
  } catch (error) {
    throw fileError(error, `reading ${path}`);
  } finally {
    await promised<void>((done) => sftp.close(handle, done as never));
  }
}

/**
 * The first packet is most often all that there is. The others are under way at once: one after the other, each would cost
 * a round trip.
 */
async function readAll(sftp: SFTPWrapper, handle: Buffer, { offset, maxBytes }: FilePart): Promise<Uint8Array> {
  const packets = packetsOf(Math.min(maxBytes, HPC_LIMITS.maxPieceBytes));
  const read = (packet: Packet): Promise<Buffer> => readPacket(sftp, { handle, ...packet, at: offset + packet.from });
  const [first, ...rest] = packets;
  if (first === undefined) return Buffer.alloc(0);
  const head = await read(first);
  const pieces = head.length < first.size ? [head] : [head, ...(await Promise.all(rest.map(read)))];
  // What comes behind a packet that was not filled is read the next time, from its end on.
  const short = pieces.findIndex(({ length }, position) => length < (packets[position]?.size ?? 0));
  return Buffer.concat(short < 0 ? pieces : pieces.slice(0, short + 1));
}

interface Packet {
  readonly from: number;
  readonly size: number;
}

interface PacketRead extends Packet {
  readonly handle: Buffer;
  /** In the file. */
  readonly at: number;
}

async function readPacket(sftp: SFTPWrapper, { handle, size, at }: PacketRead): Promise<Buffer> {
  const bytes = Buffer.alloc(size);
  const count = await promised<number>((done) => sftp.read(handle, bytes, 0, size, at, done)).catch(
    (error: unknown) => {
      if (statusOf(error) === END_OF_FILE) return 0;
      throw error;
    },
  );
  return bytes.subarray(0, count);
}

function packetsOf(byteCount: number): Packet[] {
  const count = Math.ceil(byteCount / MAX_PACKET_BYTES);
  return Array.from({ length: count }, (_, position) => {
    const from = position * MAX_PACKET_BYTES;
    return { from, size: Math.min(MAX_PACKET_BYTES, byteCount - from) };
  });
}

export async function writePart(
  sftp: SFTPWrapper,
  path: string,
  bytes: Uint8Array,
  { offset, mode }: WriteOptions,
): Promise<void> {
  try {
    const handle = await opened(sftp, path, offset === 0 ? 'w' : 'r+', mode);
    try {
      const whole = Buffer.from(bytes);
      await Promise.all(
        packetsOf(whole.length).map(({ from, size }) =>
          promised<void>((done) => sftp.write(handle, whole, from, size, offset + from, done as never)),
        ),
      );
      if (offset === 0) await promised<void>((done) => sftp.fchmod(handle, mode, done as never));
    } finally {
      await promised<void>((done) => sftp.close(handle, done as never));
    }
  } catch (error) {
    throw fileError(error, `writing ${path}`);
  }
}

function opened(sftp: SFTPWrapper, path: string, flags: 'r' | 'w' | 'r+', mode: number): Promise<Buffer> {
  return promised<Buffer>((done) => sftp.open(path, flags, mode, done as never));
}

function promised<Value>(start: (done: Callback<Value>) => void): Promise<Value> {
  return new Promise((resolve, reject) => start((error, value) => (error ? reject(error) : resolve(value))));
}

function statusOf(error: unknown): unknown {
  return (error as { code?: unknown }).code;
}

function fileError(error: unknown, doing: string): HpcError {
  const kind =
    statusOf(error) === PERMISSION_DENIED || statusOf(error) === NO_SUCH_FILE ? 'configuration' : 'unavailable';
  return new HpcError(kind, `${doing}: ${(error as Error).message}`, { cause: error });
}
