import type { Clock } from '../../../shared/clock.js';

/** The token or certificate of a target, as it is now. */
export interface Credential {
  /** Ends when it is no longer wanted, as `unavailable`. */
  read(signal: AbortSignal): Promise<string>;
  /** It was not taken: one that was kept is forgotten. True when another one can be had by that. */
  reject(): boolean;
}

/** What of this side a backend may use. */
export interface BackendMeans {
  readonly clock: Clock;
  /** The whole environment of programs that run here. */
  readonly env: Readonly<Record<string, string>>;
  /** The agent that holds SSH keys; undefined when there is none. */
  readonly sshAgentSocket: string | undefined;
  /** The value of a secret, by its name. Throws `HpcError` of kind `credentials` when there is none. */
  readonly secret: (name: string) => Promise<string>;
}
