/** A file by its content: the SHA-256 in 64 lower-case hexadecimal digits, and the bytes it has. */
export interface Artifact {
  readonly sha256: string;
  readonly sizeBytes: number;
}

/** A file that an attempt left, under the name by which others ask for it. */
export interface StoredOutput extends Artifact {
  /** Relative, with `/` between its parts. */
  readonly path: string;
}

export const SHA256 = /^[0-9a-f]{64}$/;

const SCHEME = 'berth://sha256:';

/** `berth://sha256:…`, as job specifications name an artifact. */
export function artifactUrl(sha256: string): string {
  return `${SCHEME}${sha256}`;
}

/** The digest in an artifact's URL; undefined when the text is none. */
export function sha256OfUrl(url: string): string | undefined {
  const digest = url.startsWith(SCHEME) ? url.slice(SCHEME.length) : '';
  return SHA256.test(digest) ? digest : undefined;
}

export const ARTIFACT_LIMITS = {
  /** Of one artifact: 1 TiB. */
  maxBytes: 1024 ** 4,
  /** Uploads at once, of users and agents together. */
  maxUploads: 64,
  /** An upload of which nothing arrives for so long is given up. */
  idleMs: 60_000,
  /** What nothing refers to is kept so long after it was last put. */
  graceMs: 24 * 60 * 60 * 1000,
  collectEveryMs: 60 * 60 * 1000,
  /** Part of the disk that artifacts leave to the event log and task logs. */
  reservedShare: 0.02,
} as const;
