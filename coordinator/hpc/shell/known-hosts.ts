import { createHash, createHmac } from 'node:crypto';

/** The host's keys that a known_hosts file vouches for, as it writes them, by type. Source: sshd(8). */
export function knownKeys(text: string, host: string, port: number): ReadonlyMap<string, ReadonlySet<string>> {
  const name = port === 22 ? host : `[${host}]:${port}`;
  const found = new Map<string, Set<string>>();
  for (const line of text.split('\n')) {
    const [hosts = '', type = '', key = ''] = line.trim().split(/\s+/);
    // Marked lines are for certificates and for what was revoked; comments begin with #.
    if (key === '' || hosts.startsWith('@') || hosts.startsWith('#')) continue;
    if (!hosts.split(',').some((each) => isHost(each, name))) continue;
    found.set(type, (found.get(type) ?? new Set()).add(key));
  }
  return found;
}

/** Plain names, and names hidden by a salted hash; patterns vouch for nothing here. */
function isHost(entry: string, name: string): boolean {
  const [, version, salt = '', hash] = entry.split('|');
  if (version !== '1') return entry === name;
  return createHmac('sha1', Buffer.from(salt, 'base64')).update(name).digest('base64') === hash;
}

/** As `ssh-keygen -l` prints it. */
export function fingerprint(key: Uint8Array): string {
  return `SHA256:${createHash('sha256').update(key).digest('base64').replace(/=+$/, '')}`;
}
