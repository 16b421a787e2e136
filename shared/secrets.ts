/** As other names, and with colons between, for `registry:ghcr.io:5000`. */
export const SECRET_NAME = /^[A-Za-z0-9]([A-Za-z0-9._:-]{0,126}[A-Za-z0-9])?$/;

/** Variables that mean something to some shell itself and refuse some values. */
export const SHELL_OWN = /^(OPTIND|LINENO|PPID|IFS|UID|EUID|GROUPS|SHELLOPTS|FUNCNAME|DIRSTACK|BASH.*)$/;
const SHELL_NAME = /^[A-Za-z_][A-Za-z0-9_]*$/;

/** Whether every shell passes such a variable on as it is. */
export function isShellName(name: string): boolean {
  return SHELL_NAME.test(name) && !SHELL_OWN.test(name);
}

export const SECRET_LIMITS = {
  maxValueBytes: 64 * 1024,
  maxSecrets: 10_000,
  /** Of all values together, sealed: the file that holds them is written whole. */
  maxTotalBytes: 16 * 1024 * 1024,
} as const;

/** A secret's name in the whole cluster: two namespaces may have different secrets of one name. */
export function secretKey(namespace: string, name: string): string {
  return `${namespace}/${name}`;
}

const DEFAULT_REGISTRY = 'docker.io';

/** The secret that holds `USER:PASSWORD` for an image's registry: `registry:ghcr.io`, or `registry:docker.io`. */
export function registrySecretOf(image: string): string {
  const [host = '', ...rest] = image.split('/');
  const isHost = rest.length > 0 && (/[.:]/.test(host) || host === 'localhost');
  return `registry:${isHost ? host : DEFAULT_REGISTRY}`;
}

const QUOTE = 0x27;
const ESCAPED_QUOTE = Buffer.from("'\\''");

/** `export NAME='value'` and a line's end, for a shell to read, byte for byte; null is an empty value. */
export function exportLine(name: string, value: Uint8Array | null): Buffer {
  const parts: Uint8Array[] = [Buffer.from(`export ${name}='`)];
  let from = 0;
  const bytes = value ?? new Uint8Array(0);
  for (let at = bytes.indexOf(QUOTE); at !== -1; at = bytes.indexOf(QUOTE, from)) {
    parts.push(bytes.subarray(from, at), ESCAPED_QUOTE);
    from = at + 1;
  }
  return Buffer.concat([...parts, bytes.subarray(from), Buffer.from("'\n")]);
}
