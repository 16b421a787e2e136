import { X509Certificate } from 'node:crypto';
import { readFileSync, statSync } from 'node:fs';
import { createSecureContext } from 'node:tls';
import { AppError } from '../shared/errors.js';
import type { Log } from '../shared/log.js';
import type { TlsFiles } from './config.js';
import type { ServerCertificate } from './http/server.js';

const OTHERS_MAY_READ = 0o004;

/** The certificate and its key, checked to belong together. Throws `invalid-request` that says what is wrong. */
export function readCertificate({ certFile, keyFile }: TlsFiles, log: Log): ServerCertificate {
  const certificate = { cert: readPem('--tls-cert', certFile), key: readPem('--tls-key', keyFile) };
  try {
    createSecureContext(certificate);
  } catch (cause) {
    throw new AppError('invalid-request', `${certFile} and ${keyFile} do not work: ${(cause as Error).message}`, {
      cause,
      hint: 'both are PEM files, and the key is the one that the certificate was made with',
    });
  }
  if ((statSync(keyFile).mode & OTHERS_MAY_READ) !== 0) log.warn('the TLS key can be read by everybody', { keyFile });
  return certificate;
}

/** The certificates that agents of new machines are to trust. Throws `invalid-request` that says what is wrong. */
export function readPublicCa(path: string): string {
  const text = readPem('--public-ca', path).toString('utf8');
  try {
    new X509Certificate(text);
  } catch (cause) {
    throw new AppError('invalid-request', `--public-ca: ${path} holds no certificate: ${(cause as Error).message}`, {
      cause,
      hint: 'it is a PEM file of the authority that signed what serves --public-url',
    });
  }
  return text;
}

function readPem(flag: string, path: string): Buffer {
  try {
    return readFileSync(path);
  } catch (cause) {
    throw new AppError('invalid-request', `${flag}: ${(cause as Error).message}`, { cause });
  }
}
