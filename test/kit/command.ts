import { spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';

/** The built `berth` program, found from the build that this file belongs to. */
export const BERTH_ENTRY = fileURLToPath(new URL('../../scripts/entry.js', import.meta.url));

export interface CommandResult {
  /** As shells have it: 128 + n for signal n. */
  readonly exitCode: number;
  readonly stdout: string;
  readonly stderr: string;
}

export interface CommandOptions {
  /** The whole environment of the command. */
  readonly env?: Readonly<Record<string, string | undefined>>;
  readonly input?: string;
  readonly cwd?: string;
  /** After this long the command is killed; it then reads as 137. */
  readonly timeoutMs?: number;
}

const DEFAULT_TIMEOUT_MS = 60_000;
const SIGNAL_EXIT_BASE = 128;
const SIGNALS: Readonly<Record<string, number>> = { SIGHUP: 1, SIGINT: 2, SIGKILL: 9, SIGTERM: 15 };

/** Runs a command to its end and keeps what it wrote. Throws only when it cannot be started. */
export function runCommand(argv: readonly string[], options: CommandOptions = {}): Promise<CommandResult> {
  const [file = '', ...args] = argv;
  return new Promise((resolve, reject) => {
    const child = spawn(file, args, { env: options.env, cwd: options.cwd, stdio: ['pipe', 'pipe', 'pipe'] });
    const killer = setTimeout(() => child.kill('SIGKILL'), options.timeoutMs ?? DEFAULT_TIMEOUT_MS);
    let stdout = '';
    let stderr = '';
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      stdout += text;
    });
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      stderr += text;
    });
    child.on('error', reject);
    child.on('close', (code, signal) => {
      clearTimeout(killer);
      const exitCode = code ?? SIGNAL_EXIT_BASE + (SIGNALS[signal ?? ''] ?? 0);
      resolve({ exitCode, stdout, stderr });
    });
    // A command that ends without reading its input breaks the pipe; that is its own affair.
    child.stdin.on('error', () => undefined);
    child.stdin.end(options.input ?? '');
  });
}
