import { execFile } from 'node:child_process';
import { promisify } from 'node:util';

/** Whom a task runs as. */
export interface TaskUser {
  readonly name: string;
  readonly uid: number;
  readonly gid: number;
  /** Name of the group; its number where it has none. */
  readonly group: string;
}

const execute = promisify(execFile);
const LOOKUP_LIMIT_MS = 10_000;

/** Asks the system's own directories, whatever they are; undefined when nobody has that name. */
export async function findUser(name: string): Promise<TaskUser | undefined> {
  const [found = '', , uid, gid = ''] = await entry('passwd', name);
  if (found === '') return undefined;
  const [group = ''] = await entry('group', gid);
  return { name: found, uid: Number(uid), gid: Number(gid), group: group === '' ? gid : group };
}

/** The fields of what a directory has of a key; none when it has nothing. */
async function entry(directory: 'passwd' | 'group', key: string): Promise<readonly string[]> {
  try {
    const { stdout } = await execute('getent', [directory, '--', key], { timeout: LOOKUP_LIMIT_MS });
    return stdout.split(':');
  } catch {
    return [];
  }
}
