import { constants, lstatSync, mkdirSync, readlinkSync, realpathSync } from 'node:fs';
import { chmod, type FileHandle, lstat, open, opendir, readdir } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { relativePathComplaint } from '../../shared/relative-path.js';

/**
 * Files below a folder of which a task may have made anything: links, pipes, folders in the place of files.
 *
 * Whether a file lies below the folder is asked of the kernel after it has been opened, by the name under which it
 * holds it; what a path meant before may have changed since.
 */
const { O_CREAT, O_EXCL, O_NOFOLLOW, O_NONBLOCK, O_RDONLY, O_WRONLY } = constants;
const MAX_ENTRIES = 1_000_000;
const MAX_DEPTH = 64;

/** A new file in the folder. Throws when anything on its way is not a folder of its own, or it is there already. */
export async function createFile(folder: string, path: string, mode: number): Promise<FileHandle> {
  const root = realpathSync(folder);
  makeFolders(root, dirname(path));
  const file = await open(join(root, path), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, mode);
  try {
    assertPlace(file, join(root, path));
    await file.chmod(mode);
    return file;
  } catch (error) {
    await file.close();
    throw error;
  }
}

/** Makes a folder and those above it. Throws when one of them is there as something else. */
export function makeFolders(root: string, path: string): void {
  if (path === '.') return;
  let place = root;
  for (const part of path.split('/')) {
    place = join(place, part);
    mkdirSync(place, { recursive: true, mode: 0o755 });
    if (!lstatSync(place).isDirectory()) throw new Error(`${place} is not a folder`);
  }
}

/** Gives everybody what the owner may do with a folder and all below it, of which a task has made nothing yet. */
export async function shareWithAll(place: string): Promise<void> {
  const found = await lstat(place);
  await chmod(place, (found.mode & 0o777) | ((found.mode >> 6) & 0o7));
  if (!found.isDirectory()) return;
  for (const name of await readdir(place)) await shareWithAll(join(place, name));
}

export interface OpenedFile {
  readonly file: FileHandle;
  readonly sizeBytes: number;
}

/** The plain file of that name below the folder, opened; or why there is none that may be read. */
export async function openFile(folder: string, path: string): Promise<OpenedFile | string> {
  const root = realpathSync(folder);
  let file: FileHandle;
  try {
    // Without O_NONBLOCK a pipe would be waited for.
    file = await open(join(root, path), O_RDONLY | O_NOFOLLOW | O_NONBLOCK);
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    return code === 'ELOOP' ? 'is a symbolic link' : message;
  }
  const complaint = await complaintAbout(file, root);
  if (complaint === undefined) return { file, sizeBytes: (await file.stat()).size };
  await file.close();
  return complaint;
}

async function complaintAbout(file: FileHandle, root: string): Promise<string | undefined> {
  const found = await file.stat();
  if (!found.isFile()) return 'is not a plain file';
  // The other name may be that of a file which the task itself could not read.
  if (found.nlink !== 1) return 'has another name (a hard link)';
  return placeOf(file).startsWith(`${root}/`) ? undefined : 'lies outside of it';
}

function assertPlace(file: FileHandle, expected: string): void {
  const place = placeOf(file);
  if (place !== expected) throw new Error(`${expected} leads to ${place}`);
}

/** The name that the kernel knows it by, free of links. */
export function placeOf(file: FileHandle): string {
  return readlinkSync(`/proc/self/fd/${file.fd}`);
}

/**
 * The names of everything below a folder that is not itself a folder. Links are named and not followed.
 *
 * Names that cannot be passed on (control characters, parts too long) are left out. Throws beyond MAX_ENTRIES names.
 */
export async function* namesBelow(folder: string): AsyncGenerator<string> {
  let count = 0;
  const pending = [''];
  for (let place = pending.pop(); place !== undefined; place = pending.pop()) {
    for await (const entry of await opendir(join(folder, place))) {
      count += 1;
      if (count > MAX_ENTRIES) throw new Error(`there are more than ${MAX_ENTRIES} files in it`);
      const path = place === '' ? entry.name : `${place}/${entry.name}`;
      if (relativePathComplaint(path) !== undefined) continue;
      if (!entry.isDirectory()) yield path;
      else if (path.split('/').length < MAX_DEPTH) pending.push(path);
    }
  }
}
