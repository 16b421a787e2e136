import type { LogAck, LogChunk, LogStream } from '../../../shared/wire/messages.js';
import { HpcError, type RemoteFiles } from '../backend.js';
import { HPC_LIMITS } from '../remote-job.js';
import { outputFile } from '../submission.js';
import type { Member, RemoteWork } from './remote-work.js';

/** Where output is kept; the answer says how far it is. */
export interface OutputSink {
  write(chunk: LogChunk, limitMiB?: number): Promise<LogAck>;
}

const STREAMS = [
  ['stdout', 'out'],
  ['stderr', 'err'],
] as const;

/** Pieces of one file before others, and the job's state, have their turn. */
const MAX_PIECES = 16;
/** Of a task that has ended, all that there can be. */
const MAX_LAST_PIECES = 1_000_000;

const NOTHING = new Uint8Array(0);

/** Brings a task's output over, from where it is kept already on. */
export class Output {
  readonly #files: RemoteFiles;
  readonly #sink: OutputSink;

  constructor(files: RemoteFiles, sink: OutputSink) {
    this.#files = files;
    this.#sink = sink;
  }

  async follow(work: RemoteWork, member: Member, signal: AbortSignal): Promise<void> {
    for (const [stream, word] of STREAMS) {
      const path = `${work.submission.work}/${outputFile(member.index, word)}`;
      await this.#bring(work, member, { stream, path, maxPieces: MAX_PIECES }, signal);
    }
  }

  /** All that there is, whole. A job that never began has left none. */
  async finish(work: RemoteWork, member: Member, signal: AbortSignal): Promise<void> {
    const finishOne = async ([stream, word]: (typeof STREAMS)[number]): Promise<void> => {
      const path = `${work.submission.work}/${outputFile(member.index, word)}`;
      await this.#bring(work, member, { stream, path, maxPieces: MAX_LAST_PIECES }, signal);
      await this.close(work, member, stream);
    };
    await Promise.all(STREAMS.map(finishOne));
  }

  /** Nothing more will come. */
  async close(work: RemoteWork, member: Member, stream: LogStream): Promise<void> {
    const offset = member.kept[stream] ?? 0;
    const { complete } = await this.#write(work, member, { stream, offset, bytes: NOTHING, last: true });
    if (!complete) throw new HpcError('unavailable', 'the output cannot be kept now');
  }

  async #bring(work: RemoteWork, member: Member, from: Source, signal: AbortSignal): Promise<void> {
    const { stream, path, maxPieces } = from;
    if (member.kept[stream] === undefined)
      await this.#write(work, member, { stream, offset: 0, bytes: NOTHING, last: false });
    for (let count = 0; count < maxPieces; count += 1) {
      const offset = member.kept[stream] ?? 0;
      const bytes = await this.#files.read(path, { offset, maxBytes: HPC_LIMITS.maxPieceBytes }, signal);
      if (bytes === null || bytes.length === 0) return;
      // Where it was read, and not how far it is by now: whoever follows and whoever finishes may have read the same.
      await this.#write(work, member, { stream, offset, bytes, last: false });
      if (member.kept[stream] === offset) throw new HpcError('unavailable', 'the output cannot be kept now');
    }
  }

  async #write(
    { logLimitMiB }: RemoteWork,
    { allocationId, kept }: Member,
    piece: Omit<LogChunk, 'allocationId'>,
  ): Promise<LogAck> {
    const ack = await this.#sink.write({ allocationId, ...piece }, logLimitMiB);
    kept[piece.stream] = ack.offset;
    return ack;
  }
}

interface Source {
  readonly stream: LogStream;
  readonly path: string;
  readonly maxPieces: number;
}
