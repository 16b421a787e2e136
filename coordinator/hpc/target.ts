import type { ContainerRuntime } from './containers.js';
import type { PathMapping } from './paths.js';

/** Everything about one account at one remote batch system that is no secret: `hpc/NAME`. */
export interface HpcTarget {
  readonly name: string;
  readonly backend: BackendName;
  /** Of a REST interface; null for backends that have none. */
  readonly endpoint: string | null;
  /** How to get there; null when the tools and files are those of this machine. */
  readonly ssh: SshEndpoint | null;
  /** Where Rimrock's files go by HTTPS; null when they go over `ssh`. */
  readonly plgdata: PlgDataPlace | null;
  /** The account's name for a REST interface that asks for it. */
  readonly user: string | null;
  /** The name of the secret with the token, the proxy certificate or the private key; null when none is needed. */
  readonly credential: string | null;
  /** A command of this side whose output is the credential, run anew when that has expired; null when it is kept. */
  readonly credentialCommand: readonly string[] | null;
  /** The OpenID provider that gives tokens; null when they come otherwise. */
  readonly oidc: OidcClient | null;
  readonly account: string | null;
  readonly partition: string | null;
  /** Of jobs that ask for none. */
  readonly timeLimitMs: number | null;
  /** One more than the largest index of an array there; null: as the site says, else as Slurm has it usually. */
  readonly maxArraySize: number | null;
  readonly container: ContainerRuntime | null;
  /** Shell commands before each task, such as `module load apptainer`; may be empty. */
  readonly setup: string;
  /** Where work directories are made, on the remote side. */
  readonly stagingRoot: string;
  readonly paths: readonly PathMapping[];
  readonly period: MonitoringPeriod;
  readonly keep: KeepPolicy;
  /** Of the `command` backend. */
  readonly commands: SiteCommands | null;
}

export const BACKENDS = ['slurm-local', 'slurm-ssh', 'slurm-rest', 'sge', 'command', 'rimrock'] as const;
export type BackendName = (typeof BACKENDS)[number];

/** Whether the work directory of a job that has ended stays. */
export const KEEP_POLICIES = ['never', 'failed', 'always'] as const;
export type KeepPolicy = (typeof KEEP_POLICIES)[number];

/** A job is looked at after `minMs` when something has just changed, and ever more rarely while nothing does. */
export interface MonitoringPeriod {
  readonly minMs: number;
  readonly maxMs: number;
}

export interface SshEndpoint {
  readonly host: string;
  readonly port: number;
  readonly user: string;
  /** The host's key as `SHA256:...`, or null to look it up in a known_hosts file. */
  readonly hostKey: string | null;
  readonly knownHosts: string | null;
  /** The name of the secret with the private key; null for the agent's keys. */
  readonly credential: string | null;
}

/** A cluster's disks behind PLGrid's PLGData. */
export interface PlgDataPlace {
  readonly endpoint: string;
  /** PLGData's key of the cluster, such as `ares`. */
  readonly site: string;
  /** The login node, at which Rimrock submits and runs commands. */
  readonly host: string;
}

/** What we are at an OpenID provider. */
export interface OidcClient {
  /** As it calls itself, without a slash at the end. */
  readonly issuer: string;
  readonly clientId: string;
  /** Names of secrets. Null: the client has none. */
  readonly clientSecret: string | null;
  /** Null: the token is the client's own. */
  readonly refreshToken: string | null;
  readonly scope: string | null;
  readonly audience: string | null;
}

/** The secrets without which nothing can be asked of a target. */
export function secretNamesOf({ credential, credentialCommand, oidc, ssh }: HpcTarget): readonly string[] {
  const own = credentialCommand === null ? credential : null;
  const names = [own, oidc?.clientSecret, oidc?.refreshToken, ssh?.credential];
  return names.flatMap((name) => name ?? []);
}

/** A site's own tools, as argument vectors with `{placeholders}`; see the `command` backend. */
export interface SiteCommands {
  readonly submit: readonly string[];
  readonly status: readonly string[];
  readonly cancel: readonly string[];
  readonly check: readonly string[] | null;
}
