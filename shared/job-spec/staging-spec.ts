/** A file that is put into an attempt's workspace before its command starts. */
export interface InputSpec {
  readonly source: InputSource;
  /** Below the workspace: the file, or the folder for what a pattern matches. */
  readonly to: string;
  /** What the content must have; recorded in any case. Absent when nobody says. */
  readonly sha256?: string;
  /** Permissions; absent for INPUT_MODE. */
  readonly mode?: number;
}

export type InputSource =
  /** `file:///…`, `http(s)://…`, `s3://bucket/key` or `berth://sha256:…`. */
  | { readonly kind: 'url'; readonly url: string }
  | { readonly kind: 'content'; readonly content: string }
  /** What another step left: `path` is a pattern of its outputs. */
  | { readonly kind: 'step'; readonly step: string; readonly path: string; readonly tasks?: EdgeTasks };

/** Whose outputs: those of the task with the same index, or of all. Absent: `same` between equal arrays, else `all`. */
export type EdgeTasks = 'same' | 'all';

/** Files that are kept after the command has ended, however it ended. */
export interface OutputSpec {
  /** A pattern below the workspace. */
  readonly path: string;
  /** The name to keep the one file under, or, with a pattern, the folder; absent for the path itself. */
  readonly as?: string;
  /** A command that succeeds without leaving it has failed. */
  readonly required?: true;
}

/** A volume of the node, by the name that its operator gave it. */
export interface VolumeMount {
  readonly name: string;
  /** Absolute in a container or namespace; relative, it is a link in the workspace. */
  readonly mount: string;
  readonly writable?: true;
  /** A folder within the volume; absent for all of it. */
  readonly subpath?: string;
}

export const INPUT_MODE = 0o644;

export const STAGING_LIMITS = {
  maxInputs: 256,
  /** Of one input's own content, in bytes. */
  maxContentBytes: 64 * 1024,
  maxOutputs: 64,
  maxVolumes: 32,
  maxUrlLength: 4_096,
  /** Files that the edges of one task may bring. */
  maxEdgeFiles: 1_000,
  /** Files that one attempt may leave. */
  maxOutputFiles: 500,
} as const;
