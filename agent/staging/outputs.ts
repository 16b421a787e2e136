import type { Artifact, StoredOutput } from '../../shared/artifact.js';
import { globMatches, hasWildcard } from '../../shared/glob.js';
import { type OutputSpec, STAGING_LIMITS } from '../../shared/job-spec/staging-spec.js';
import { foldedPath, relativePathComplaint } from '../../shared/relative-path.js';
import { namesBelow, type OpenedFile, openFile } from './workspace.js';

export interface CollectedOutputs {
  readonly outputs: readonly StoredOutput[];
  /** Files that match and were not kept, and why. */
  readonly complaints: readonly string[];
  /** Patterns that must match and do not. */
  readonly missing: readonly string[];
}

/** Keeps a file; its name is for messages. */
export type Keep = (file: OpenedFile) => Promise<Artifact>;

/** Finds what an attempt has left by its outputs' patterns, and keeps each file under its name. */
export async function collectOutputs(
  workspace: string,
  specs: readonly OutputSpec[],
  keep: Keep,
): Promise<CollectedOutputs> {
  const complaints: string[] = [];
  const found = await namedFiles(workspace, specs, complaints);
  const outputs: StoredOutput[] = [];
  const satisfied = new Set<OutputSpec>();
  for (const { source, path, spec } of found) {
    const opened = await openFile(workspace, source);
    if (typeof opened === 'string') {
      complaints.push(`${source} ${opened}`);
      continue;
    }
    try {
      outputs.push({ path, ...(await keep(opened)) });
      satisfied.add(spec);
    } finally {
      await opened.file.close();
    }
  }
  const missing = specs.filter((spec) => spec.required && !satisfied.has(spec)).map(({ path }) => path);
  return { outputs, complaints, missing };
}

interface NamedFile {
  /** In the workspace. */
  readonly source: string;
  /** The name to keep it under. */
  readonly path: string;
  readonly spec: OutputSpec;
}

/** Each name once: of several patterns that match a file the first counts, and of several files for a name too. */
async function namedFiles(
  workspace: string,
  specs: readonly OutputSpec[],
  complaints: string[],
): Promise<readonly NamedFile[]> {
  const found: NamedFile[] = [];
  const taken = new Map<string, string>();
  for await (const source of namesBelow(workspace)) {
    const spec = specs.find(({ path }) => globMatches(path, source));
    if (!spec) continue;
    const path = nameOf(source, spec);
    const other = taken.get(foldedPath(path));
    if (relativePathComplaint(path) !== undefined) complaints.push(`${source} would get a name that is too long`);
    else if (other !== undefined) complaints.push(`${source} would have the same name as ${other}`);
    else if (found.length >= STAGING_LIMITS.maxOutputFiles) {
      complaints.push(`${source} and what follows: an attempt leaves ${STAGING_LIMITS.maxOutputFiles} files at most`);
      break;
    } else {
      taken.set(foldedPath(path), source);
      found.push({ source, path, spec });
    }
  }
  return found.sort((left, right) => (left.path < right.path ? -1 : 1));
}

function nameOf(source: string, { path, as }: OutputSpec): string {
  if (as === undefined) return source;
  if (hasWildcard(path)) return `${as}/${source}`;
  // Of a folder, the rest below it.
  return source === path ? as : `${as}${source.slice(path.length)}`;
}
