import { spawn } from 'node:child_process';
import { asHpcError, HpcError } from '../backend.js';
import { HPC_LIMITS } from '../remote-job.js';
import type { ShellResult } from './remote-shell.js';

/** Runs a script with this machine's shell. Throws `HpcError` alone; when the signal aborts, the shell is ended. */
export function runScript(
  script: string,
  env: Readonly<Record<string, string>>,
  signal: AbortSignal,
): Promise<ShellResult> {
  return new Promise((resolve, reject) => {
    // In a session of its own, so that a Ctrl-C at the terminal is no concern of a submission under way.
    const child = spawn('/bin/sh', ['-s'], { env: { ...env }, cwd: '/', stdio: 'pipe', signal, detached: true });
    const out: Buffer[] = [];
    const err: Buffer[] = [];
    let byteCount = 0;
    const keep = (chunks: Buffer[]) => (chunk: Buffer) => {
      byteCount += chunk.length;
      if (byteCount <= HPC_LIMITS.maxAnswerBytes) chunks.push(chunk);
      else child.kill('SIGKILL');
    };
    child.stdout.on('data', keep(out));
    child.stderr.on('data', keep(err));
    child.on('error', (error) => reject(asHpcError(error, 'running a command')));
    child.on('close', (code, killedBy) => {
      if (byteCount > HPC_LIMITS.maxAnswerBytes) reject(new HpcError('configuration', 'a command printed too much'));
      else if (code === null) reject(new HpcError('unavailable', `a command was ended by ${killedBy ?? 'a signal'}`));
      else resolve({ exitCode: code, stdout: Buffer.concat(out).toString(), stderr: Buffer.concat(err).toString() });
    });
    child.stdin.on('error', () => undefined);
    child.stdin.end(script);
  });
}
