import { readFileSync } from 'node:fs';
import { AppError } from '../../shared/errors.js';
import type { S3Credentials } from '../staging/s3.js';

/** Keys for S3 as Amazon's own tools keep them. Throws `invalid-request` when there are none to read. */
export function readS3Credentials(path: string): S3Credentials {
  const text = readSecret(path, 'the S3 credentials');
  const keyOf = (key: string): string | undefined => new RegExp(`^\\s*${key}\\s*=\\s*(\\S+)\\s*$`, 'm').exec(text)?.[1];
  const accessKeyId = keyOf('aws_access_key_id');
  const secretAccessKey = keyOf('aws_secret_access_key');
  if (accessKeyId === undefined || secretAccessKey === undefined) {
    throw new AppError('invalid-request', `${path} lacks aws_access_key_id or aws_secret_access_key`);
  }
  const sessionToken = keyOf('aws_session_token');
  return { accessKeyId, secretAccessKey, ...(sessionToken === undefined ? {} : { sessionToken }) };
}

/** The join token. Throws `invalid-request` when there is none to read. */
export function readToken(path: string | null): string {
  if (path === null) {
    throw new AppError('invalid-request', '--token-file is missing', {
      hint: 'copy agent.token from the state directory of the coordinator and name the copy',
    });
  }
  const token = readSecret(path, 'the token').trim();
  if (token === '') throw new AppError('invalid-request', `${path} is empty; it must hold the join token`);
  return token;
}

/** The certificates to trust; undefined for the system's own. Throws `invalid-request` when they cannot be read. */
export function readCa(path: string | null): string | undefined {
  if (path === null) return undefined;
  try {
    return readFileSync(path, 'utf8');
  } catch (cause) {
    throw new AppError('invalid-request', `--ca-file: ${(cause as Error).message}`, { cause });
  }
}

function readSecret(path: string, what: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch (cause) {
    throw new AppError('invalid-request', `cannot read ${what}: ${(cause as Error).message}`, { cause });
  }
}
