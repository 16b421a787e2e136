import { createHash, timingSafeEqual } from 'node:crypto';
import { chmod, link, mkdir, open, readFile, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { AppError } from '../../shared/errors.js';
import type { Log } from '../../shared/log.js';
import type { Random } from '../../shared/random.js';
import { codeOf, flushFolder, ifPresent, PRIVATE_DIRECTORY, PRIVATE_FILE } from './disk.js';
import { JoinTickets } from './join-tickets.js';

/** Whether a presented token is the right one; takes the same time for every wrong one. */
export type TokenCheck = (presented: string) => boolean;

export interface Tokens {
  /** May do everything over HTTP. */
  readonly isAdminToken: TokenCheck;
  /** Lets an agent join, and nothing else. */
  readonly isAgentToken: TokenCheck;
  /** Tickets for single nodes. */
  readonly tickets: JoinTickets;
  /** What machines of this coordinator are tagged with; as lasting as its state directory. */
  readonly cluster: string;
}

export interface TokenOptions {
  readonly stateDir: string;
  readonly random: Random;
  readonly log: Log;
}

const TOKEN_BYTES = 32;
const CLUSTER_BYTES = 6;
const OTHERS = 0o077;
/** What an operator's own token must look like: long enough, and fit for an HTTP header. */
const ACCEPTABLE = /^[\x21-\x7e]{32,512}$/;

/**
 * Reads `admin.token`, `agent.token` and `ticket.token` of the state directory, making those that are missing.
 *
 * A file that others may read is made private, with a warning. Two processes that start at once get the same tokens.
 * Errors: `store-corrupt` when a file holds no usable token, `store-unavailable` when it cannot be read or made.
 */
export async function openTokens(options: TokenOptions): Promise<Tokens> {
  try {
    await mkdir(options.stateDir, { recursive: true, mode: PRIVATE_DIRECTORY });
    const ticketKey = await openToken('ticket', options);
    return {
      isAdminToken: tokenCheck(await openToken('admin', options)),
      isAgentToken: tokenCheck(await openToken('agent', options)),
      tickets: new JoinTickets(ticketKey),
      cluster: `berth-${digestOf(`cluster ${ticketKey}`).toString('hex', 0, CLUSTER_BYTES)}`,
    };
  } catch (error) {
    if (error instanceof AppError) throw error;
    throw new AppError('store-unavailable', `no access to the tokens in ${options.stateDir}`, { cause: error });
  }
}

/** Compares digests, which have one length whatever was presented. */
export function tokenCheck(token: string): TokenCheck {
  const expected = digestOf(token);
  return (presented) => timingSafeEqual(digestOf(presented), expected);
}

function digestOf(text: string): Buffer {
  return createHash('sha256').update(text).digest();
}

async function openToken(role: 'admin' | 'agent' | 'ticket', options: TokenOptions): Promise<string> {
  const path = join(options.stateDir, `${role}.token`);
  const isNew = await createOnce(path, `berth_${role}_${options.random.token(TOKEN_BYTES)}\n`, options);
  if (isNew) options.log.info('token created', { role, path });
  else await makePrivate(path, options.log);
  const token = (await readFile(path, 'utf8')).trim();
  if (ACCEPTABLE.test(token)) return token;
  throw new AppError('store-corrupt', `${path} holds no usable token`, {
    hint: 'delete it to have a new one made, or put 32 to 512 printable characters into it',
  });
}

/** Makes the file with all its content, or not at all; false when it is there already. */
async function createOnce(path: string, content: string, { stateDir, random }: TokenOptions): Promise<boolean> {
  if (await ifPresent(() => stat(path))) return false;
  const draft = `${path}.${random.token(4)}`;
  const file = await open(draft, 'wx', PRIVATE_FILE);
  try {
    await file.writeFile(content);
    await file.sync();
    // A link, unlike a rename, never replaces what another process has made meanwhile.
    await link(draft, path);
  } catch (error) {
    if (codeOf(error) !== 'EEXIST') throw error;
    return false;
  } finally {
    await file.close();
    await rm(draft, { force: true });
  }
  await flushFolder(stateDir);
  return true;
}

async function makePrivate(path: string, log: Log): Promise<void> {
  const { mode } = await stat(path);
  if ((mode & OTHERS) === 0) return;
  await chmod(path, PRIVATE_FILE);
  log.warn('token file was readable by others and is private now; replace the token if it may have been seen', {
    path,
  });
}
