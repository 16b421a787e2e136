/** Why tasks of a step wait (P7). `code` is stable; `message` is for people. */
export interface WaitReason {
  readonly code:
    | 'held'
    | 'needs'
    | 'backoff'
    | 'max-parallel'
    | 'quota'
    | 'licence'
    | 'secret'
    | 'no-nodes'
    | 'unavailable'
    | 'no-match'
    | 'capacity'
    | 'machine'
    | 'no-machine'
    | 'remote'
    | 'reservation'
    | 'preempting'
    | 'starting'
    | 'targets';
  readonly message: string;
  readonly details?: Readonly<Record<string, unknown>>;
}
