import { execFile } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { cpus } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Log } from '../../shared/log.js';

export type Attributes = Readonly<Record<string, string>>;

const PROGRAM = fileURLToPath(new URL('./hardware-main.js', import.meta.url));
const TIME_LIMIT_MS = 10_000;
const FILE_NAME = 'hardware.json';

export interface HardwareOptions {
  /** Where the answer is kept for as long as the machine is not restarted; null to ask anew. */
  readonly stateDir: string | null;
  readonly bootId: string;
  readonly log: Log;
}

/** What the machine is made of. Never fails: an attribute that cannot be found is left out. */
export async function hardwareAttributes({ stateDir, bootId, log }: HardwareOptions): Promise<Attributes> {
  const path = stateDir === null ? null : join(stateDir, FILE_NAME);
  const kept = path === null ? undefined : readKept(path);
  if (kept?.bootId === bootId) return kept.attributes;
  const found = await ask(log);
  if (found === undefined) return { cpuModel: cpus()[0]?.model.trim() ?? '' };
  const attributes = Object.fromEntries(Object.entries(found).filter(([, value]) => value !== ''));
  if (path !== null) keep(path, { bootId, attributes }, log);
  return attributes;
}

interface Kept {
  readonly bootId: string;
  readonly attributes: Attributes;
}

function ask(log: Log): Promise<Attributes | undefined> {
  return new Promise((resolve) => {
    const options = { timeout: TIME_LIMIT_MS, env: { PATH: '/usr/sbin:/usr/bin:/sbin:/bin' } };
    execFile(process.execPath, [PROGRAM], options, (error, output) => {
      if (error) {
        log.warn('hardware could not be asked', { error: error.message });
        return resolve(undefined);
      }
      resolve(JSON.parse(output) as Attributes);
    });
  });
}

function readKept(path: string): Kept | undefined {
  try {
    return JSON.parse(readFileSync(path, 'utf8')) as Kept;
  } catch {
    return undefined;
  }
}

function keep(path: string, kept: Kept, log: Log): void {
  try {
    writeFileSync(path, JSON.stringify(kept), { mode: 0o600 });
  } catch (error) {
    log.warn('hardware could not be kept', { error: String(error) });
  }
}
