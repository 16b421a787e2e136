import type { CreateOrder } from './provider.js';

/** How Berth comes onto a machine that has just been made. */
export interface AgentSource {
  /** A package made by `scripts/pack`; null when the image has Berth in it already, as `scripts/install` lays it down. */
  readonly package: AgentPackage | null;
  /** Commands for a shell that run before, as root: what the image lacks, such as Node. */
  readonly setup: readonly string[];
}

export interface AgentPackage {
  readonly url: string;
  /** In hexadecimal digits: what was fetched is run as root. */
  readonly sha256: string;
}

const SETTINGS_FILE = '/etc/berth/agent.yaml';
const TOKEN_FILE = '/etc/berth/agent.token';
const CA_FILE = '/etc/berth/ca.pem';
const STATE_DIR = '/var/lib/berth-agent';
const FETCH_SCRIPT = '/run/berth-install.sh';

/**
 * User data that makes a machine join, for cloud-init.
 *
 * The token is in a file of root's only and on no command line; who may read the machine's user data can read it until
 * the machine has joined, and after that it is good for nothing. Written as JSON, which is YAML and quotes whatever a
 * label may hold.
 */
export function userDataOf(order: CreateOrder, source: AgentSource): string {
  const files = [
    file(TOKEN_FILE, '0600', `${order.join.token}\n`),
    ...(order.join.ca === null ? [] : [file(CA_FILE, '0644', order.join.ca)]),
    file(SETTINGS_FILE, '0644', `${JSON.stringify(agentSettings(order), null, 2)}\n`),
    ...(source.package === null ? [] : [file(FETCH_SCRIPT, '0700', installScript(source.package))]),
  ];
  const start =
    source.package === null
      ? [
          ['systemctl', 'enable', 'berth-agent'],
          ['systemctl', 'restart', 'berth-agent'],
        ]
      : [['bash', FETCH_SCRIPT]];
  const config = { write_files: files, runcmd: [...source.setup, ...start] };
  return `#cloud-config\n${JSON.stringify(config, null, 2)}\n`;
}

function file(path: string, permissions: string, content: string): Readonly<Record<string, string>> {
  return { path, owner: 'root:root', permissions, content };
}

function agentSettings({ nodeId, labels, join }: CreateOrder): Readonly<Record<string, unknown>> {
  const trust = join.ca === null ? {} : { caFile: CA_FILE };
  return { url: join.url, ...trust, tokenFile: TOKEN_FILE, stateDir: STATE_DIR, name: nodeId, label: labels };
}

/** The installer finds the settings written already and keeps them. */
function installScript({ url, sha256 }: AgentPackage): string {
  return `#!/bin/bash
# Fetches Berth, checks that it is the one meant, and installs it as a service.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
fetch() {
  if command -v curl >/dev/null; then
    curl -gfsSL --retry 5 --retry-delay 2 --connect-timeout 20 -o "$2" "$1"
  else
    wget -q --tries=5 --timeout=20 -O "$2" "$1"
  fi
}
fetch ${quoted(url)} "$folder/berth.tgz"
echo ${quoted(`${sha256}  `)}"$folder/berth.tgz" | sha256sum --check --status ||
  { echo 'berth: the package is not the one that its pool names; check sha256' >&2; exit 1; }
mkdir "$folder/berth"
tar -xzf "$folder/berth.tgz" -C "$folder/berth" --strip-components=1 --no-same-owner
"$folder/berth/scripts/install" agent --from "$folder/berth.tgz"
`;
}

function quoted(text: string): string {
  return `'${text.replaceAll("'", `'\\''`)}'`;
}
