import { isRecord } from '../../../../shared/job-spec/findings.js';
import { type FilePart, HpcError, type WriteOptions } from '../../backend.js';
import { quote } from '../../quote.js';
import { HPC_LIMITS } from '../../remote-job.js';
import type { RemoteShell } from '../../shell/remote-shell.js';
import { explainFileError, folderOf, moveByShell, removeByShell } from '../../shell/shell-files.js';
import { type SharedCall, sharedCall } from '../shared-call.js';
import type { PlgData } from './plgdata.js';
import type { PlgridService } from './plgrid-call.js';
import { callRimrock } from './rimrock-call.js';

export interface RimrockShellOptions {
  readonly rimrock: PlgridService;
  /** The login node, as Rimrock calls it. */
  readonly host: string;
  readonly plgdata: PlgData;
  readonly stagingRoot: string;
}

/** More than that does not ride along with a command's answer. */
const MOST_IN_ANSWER_BYTES = 192 * 1024;
/** What was left by a transfer that broke off, and by a process that was killed. */
const STALE_PIECE_MINUTES = 60;
const STALE_FOLDER_MINUTES = 24 * 60;
const CLOSE_MS = 10_000;

/**
 * A login node by HTTPS alone: Rimrock runs commands there, PLGData carries bytes.
 *
 * PLGData knows whole files only, and neither their digests nor their permissions. So what it carries are pieces in a
 * folder of ours that nobody else may read: a command cuts out the part of a file that is wanted, or puts a piece that
 * has arrived in its place. Sources: the public description of /api/process, which ends a command after 10 s.
 */
export class RimrockShell implements RemoteShell {
  readonly #options: RimrockShellOptions;
  #folder: SharedCall<string> | undefined;
  #pieceCount = 0;

  constructor(options: RimrockShellOptions) {
    this.#options = options;
  }

  async run(script: string, signal: AbortSignal): ReturnType<RemoteShell['run']> {
    const { exitCode, output } = await this.#execute(script, signal);
    return { exitCode, stdout: output.toString(), stderr: '' };
  }

  async read(path: string, part: FilePart, signal: AbortSignal): Promise<Uint8Array | null> {
    const piece = await this.#newPiece(signal);
    const output = await this.#mustExecute(cutScript(path, part, piece), signal);
    if (output.length === 0) return null;
    const head = output.indexOf('\n');
    const byteCount = Number(output.subarray(0, head));
    const bytes = byteCount > MOST_IN_ANSWER_BYTES ? await this.#fetch(piece, signal) : output.subarray(head + 1);
    if (bytes.length === Math.max(0, byteCount)) return bytes;
    throw new HpcError('unavailable', `of ${path} ${bytes.length} bytes arrived, and not ${byteCount}`);
  }

  async write(path: string, bytes: Uint8Array, { offset, mode }: WriteOptions, signal: AbortSignal): Promise<void> {
    const piece = await this.#newPiece(signal);
    await this.#upload(piece, bytes, signal);
    const [from, to] = [quote(piece), quote(path)];
    const place =
      offset === 0
        ? `mkdir -p -- ${quote(folderOf(path))} && chmod ${mode.toString(8)} ${from} && mv -f -- ${from} ${to}`
        : `dd if=${from} of=${to} bs=1M oflag=seek_bytes seek=${offset} conv=notrunc status=none && rm -f -- ${from}`;
    await this.#mustExecute(place, signal);
  }

  move(from: string, to: string, signal: AbortSignal): Promise<void> {
    return moveByShell(this, { from, to }, signal);
  }

  remove(path: string, signal: AbortSignal): Promise<void> {
    return removeByShell(this, path, signal);
  }

  async close(): Promise<void> {
    const folder = await this.#folder?.wait(AbortSignal.timeout(CLOSE_MS)).catch(() => undefined);
    this.#folder = undefined;
    // What cannot be removed now is removed when it is stale.
    if (folder !== undefined) await this.remove(folder, AbortSignal.timeout(CLOSE_MS)).catch(() => {});
  }

  async #upload(piece: string, bytes: Uint8Array, signal: AbortSignal): Promise<void> {
    const { plgdata } = this.#options;
    try {
      await plgdata.upload(piece, bytes, signal);
    } catch (error) {
      if (!(error instanceof HpcError) || error.kind !== 'configuration') throw error;
      await this.#mustExecute(madeAgain(piece), signal);
      await plgdata.upload(piece, bytes, signal);
    }
  }

  async #fetch(piece: string, signal: AbortSignal): Promise<Buffer> {
    const bytes = await this.#options.plgdata.download(piece, signal);
    await this.#options.plgdata.remove(piece, signal).catch(() => {});
    return bytes;
  }

  async #newPiece(signal: AbortSignal): Promise<string> {
    this.#folder ??= sharedCall((wanted) => this.#makeFolder(wanted));
    this.#pieceCount += 1;
    const name = String(this.#pieceCount);
    const asked = this.#folder;
    try {
      return `${await asked.wait(signal)}/${name}`;
    } catch (error) {
      if (this.#folder === asked) this.#folder = undefined;
      throw error;
    }
  }

  async #makeFolder(signal: AbortSignal): Promise<string> {
    const root = quote(this.#options.stagingRoot);
    const stale = `find ${root} -maxdepth 1 -name '.pieces-*' -mmin +${STALE_FOLDER_MINUTES} -exec rm -rf {} + 2>/dev/null`;
    const made = await this.#mustExecute(`mkdir -p -- ${root} && ${stale}; mktemp -d ${root}/.pieces-XXXXXXXX`, signal);
    return made.toString().trim();
  }

  async #mustExecute(script: string, signal: AbortSignal): Promise<Buffer> {
    const { exitCode, output } = await this.#execute(script, signal);
    if (exitCode === 0) return output;
    throw explainFileError({ exitCode, stdout: output.toString(), stderr: '' });
  }

  async #execute(script: string, signal: AbortSignal): Promise<Executed> {
    const { rimrock, host } = this.#options;
    const body = { host, command: asCommand(script) };
    const answer = await callRimrock(rimrock, { method: 'POST', path: '/api/process', body }, signal);
    const encoded = isRecord(answer) ? answer.standard_output : undefined;
    const whole = Buffer.from(typeof encoded === 'string' ? encoded : '', 'base64');
    const status = /\nexit (\d+)\n$/.exec(whole.subarray(-MOST_STATUS_BYTES).toString('latin1'));
    if (status === null) throw new HpcError('unavailable', `Rimrock's answer about a command at ${host} breaks off`);
    return { exitCode: Number(status[1]), output: whole.subarray(0, whole.length - status[0].length) };
  }
}

interface Executed {
  readonly exitCode: number;
  /** Of both streams. */
  readonly output: Buffer;
}

const MOST_STATUS_BYTES = 16;

/** Rimrock trims what a command prints and changes its line ends and what is no text; in base64 nothing is lost. */
function asCommand(script: string): string {
  return `{ sh -c ${quote(script)} 2>&1 </dev/null; printf '\\nexit %s\\n' $?; } | base64`;
}

/** Its folder may have been cleared away as stale. */
function madeAgain(piece: string): string {
  return `mkdir -p -m 700 -- ${quote(folderOf(piece))}`;
}

/** Prints nothing where there is no such file; else how much there is, and that, or has it cut out when it is much. */
function cutScript(path: string, { offset, maxBytes }: FilePart, piece: string): string {
  const file = quote(path);
  const most = Math.min(maxBytes, HPC_LIMITS.maxPieceBytes);
  return `[ -f ${file} ] || exit 0
size=$(wc -c <${file}) || exit
count=$((size - ${offset})); [ $count -le ${most} ] || count=${most}
echo $count
[ $count -gt 0 ] || exit 0
if [ $count -gt ${MOST_IN_ANSWER_BYTES} ]; then
  ${madeAgain(piece)} && find ${quote(folderOf(piece))} -type f -mmin +${STALE_PIECE_MINUTES} -delete
  exec >${quote(piece)}
fi
tail -c +${offset + 1} ${file} | head -c $count`;
}
