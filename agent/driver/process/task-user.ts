import { execFile } from 'node:child_process';
import { promisify } from 'node:util';

/** Whom a task runs as. */
export interface TaskUser {
  readonly name: string;
  readonly uid: number;
  readonly gid: number;
}

const execute = promisify(execFile);
const LOOKUP_LIMIT_MS = 10_000;

/** Asks the system's own directories, whatever they are; undefined when nobody has that name. */
export async function findUser(name: string): Promise<TaskUser | undefined> {
  try {
    const { stdout } = await execute('getent', ['passwd', '--', name], { timeout: LOOKUP_LIMIT_MS });
    const [found = '', , uid, gid] = stdout.split(':');
    return found === '' ? undefined : { name: found, uid: Number(uid), gid: Number(gid) };
  } catch {
    return undefined;
  }
}
