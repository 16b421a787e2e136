import type { Clock } from '../../../shared/clock.js';
import { type ProgramResult, runnerOf } from '../../../shared/run-program.js';
import { parseDeviceList } from './device-list.js';
import type { GpuReading, GpuSource } from './gpu.js';

export interface NvidiaSmiOptions {
  readonly clock: Clock;
  /** A name that is looked for in PATH, or a path. */
  readonly program: string;
  /** For each call of the program. */
  readonly timeLimitMs: number;
}

/** A page of eight GPUs has 0.5 MB. */
const MAX_PAGE_BYTES = 16 * 1024 ** 2;
const SHOWN_CHARS = 200;

/** NVIDIA's GPUs, by its own tool: `nvidia-smi -q -x`, and `-L` where a GPU is divided. */
export function nvidiaSmi({ clock, program, timeLimitMs }: NvidiaSmiOptions): GpuSource {
  const run = runnerOf({ clock, timeLimitMs, maxOutputBytes: MAX_PAGE_BYTES });
  return {
    read: async (signal) => {
      try {
        return await read(program, (argv) => run(argv, signal));
      } catch (error) {
        return { kind: 'failed', reason: `the answer of ${program} cannot be read: ${String(error)}` };
      }
    },
  };
}

async function read(program: string, run: (argv: readonly string[]) => Promise<ProgramResult>): Promise<GpuReading> {
  const answer = await run([program, '-q', '-x']);
  if (answer.kind !== 'ended') return answer;
  // The parser of XML costs the agent memory: only a machine with GPUs loads it.
  const { parseNvidiaPage } = await import('./nvidia-page.js');
  // With one GPU of many lost it exits with an error, and its page tells of the others.
  const page = parseNvidiaPage(answer.stdout);
  if (page === null) return { kind: 'failed', reason: complaintOf(program, answer) };
  if (!page.gpus.some(({ isMig }) => isMig)) return { kind: 'read', page };
  // Without an answer the slices keep the names that follow from their size.
  const list = await run([program, '-L']);
  const listed = list.kind === 'ended' ? parseDeviceList(list.stdout) : undefined;
  return { kind: 'read', page: parseNvidiaPage(answer.stdout, listed) ?? page };
}

/** What the program itself says is the best explanation: "couldn't communicate with the NVIDIA driver". */
function complaintOf(program: string, answer: { exitCode: number | null; stdout: string; stderr: string }): string {
  const [beforePage = ''] = answer.stdout.split('<', 1);
  const said = `${answer.stderr}\n${beforePage}`
    .split('\n')
    .map((line) => line.trim())
    .find((line) => line !== '');
  if (said !== undefined) return `${program} says: ${said.slice(0, SHOWN_CHARS)}`;
  if (answer.exitCode !== 0) return `${program} ended with exit code ${answer.exitCode ?? 'unknown'}`;
  return `${program} wrote no whole page`;
}
