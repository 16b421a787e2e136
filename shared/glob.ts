/**
 * Patterns of relative paths: `*` and `?` within a part, and `**` as a part for any number of them.
 *
 * A pattern without any of these names a file, or a folder with all that is in it. Names that begin with a dot are
 * matched only by parts that do.
 */
const MAX_STARS_IN_PART = 8;

/** What a pattern may not be, besides a bad path; undefined when it is fine. */
export function globComplaint(glob: string): string | undefined {
  const parts = glob.split('/');
  if (parts.some((part) => part !== '**' && part.includes('**'))) return 'has "**" within a part; it stands alone';
  if (parts.some((part) => (part.match(/\*/g)?.length ?? 0) > MAX_STARS_IN_PART)) {
    return `has more than ${MAX_STARS_IN_PART} "*" in a part`;
  }
  return undefined;
}

export function hasWildcard(glob: string): boolean {
  return /[*?]/.test(glob);
}

/** Cost: O(parts of the pattern * parts of the path). */
export function globMatches(glob: string, path: string): boolean {
  if (!hasWildcard(glob)) return path === glob || path.startsWith(`${glob}/`);
  const matchers = glob.split('/').map((part) => (part === '**' ? null : partMatcher(part)));
  // Which prefixes of the pattern match the parts of the path so far.
  let reached = afterDoubleStars(matchers, new Set([0]));
  for (const part of path.split('/')) {
    const next = new Set<number>();
    for (const at of reached) {
      const matcher = matchers[at];
      if (matcher === null && !part.startsWith('.')) next.add(at);
      else if (matcher?.test(part)) next.add(at + 1);
    }
    reached = afterDoubleStars(matchers, next);
  }
  return reached.has(matchers.length);
}

/** A `**` may stand for nothing at all. */
function afterDoubleStars(matchers: readonly (RegExp | null)[], reached: Set<number>): Set<number> {
  for (const at of reached) if (matchers[at] === null) reached.add(at + 1);
  return reached;
}

function partMatcher(part: string): RegExp {
  const source = part
    .replace(/[.+^${}()|[\]\\]/g, '\\$&')
    .replaceAll('*', '.*')
    .replaceAll('?', '.');
  return new RegExp(`^${part.startsWith('.') ? '' : '(?!\\.)'}${source}$`, 'su');
}
