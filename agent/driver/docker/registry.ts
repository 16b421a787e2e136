import { readFileSync, statSync } from 'node:fs';
import { AppError } from '../../../shared/errors.js';
import type { RegistryAuth } from '../../../shared/wire/messages.js';

const DOCKER_HUB = 'docker.io';
const TAG_OR_DIGEST = /@|:[^/]+$/;

/** An image without a tag is its `latest`; Docker itself would pull every tag there is. */
export function withTag(image: string): string {
  return TAG_OR_DIGEST.test(image) ? image : `${image}:latest`;
}

/** The first part names a registry if it could be a host: it has a dot or a port, or is localhost. */
export function registryOf(image: string): string {
  const [first = '', ...rest] = image.split('/');
  const isHost = rest.length > 0 && (/[.:]/.test(first) || first === 'localhost');
  return isHost ? first : DOCKER_HUB;
}

/**
 * Reads the node's credentials: a JSON file, by registry, `{"registry.lab:5000": {"username": …, "password": …}}`.
 * Read at every pull, so that a renewed password needs no restart.
 *
 * Errors: `invalid-request` when the file is not of that form, or readable to others.
 */
export function credentialsIn(path: string): (registry: string) => RegistryAuth | undefined {
  return (registry) => {
    const fault = (message: string, cause?: unknown): AppError =>
      new AppError('invalid-request', `registry credentials ${path}: ${message}`, { cause });
    let text: string;
    try {
      if ((statSync(path).mode & 0o077) !== 0) throw fault('others can read the file; chmod 600 it');
      text = readFileSync(path, 'utf8');
    } catch (cause) {
      throw cause instanceof AppError ? cause : fault((cause as Error).message, cause);
    }
    let all: unknown;
    try {
      all = JSON.parse(text);
    } catch {
      // The parser's own message would quote a piece of the file.
      throw fault('it is no JSON');
    }
    const entry = (all as Record<string, { username?: unknown; password?: unknown } | undefined> | null)?.[registry];
    if (entry === undefined) return undefined;
    const { username, password } = entry;
    if (typeof username === 'string' && typeof password === 'string') return { username, password };
    throw fault(`"${registry}" needs a "username" and a "password", both texts`);
  };
}
