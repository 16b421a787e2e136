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
