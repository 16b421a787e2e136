/** Folders that both sides see, by what each calls them. */
export interface PathMapping {
  readonly local: string;
  readonly remote: string;
}

/** What the remote side calls a local path; undefined when it is in no shared folder. The longest mapping wins. */
export function mapPath(mappings: readonly PathMapping[], path: string): string | undefined {
  if (path.split('/').includes('..')) return undefined;
  let best: PathMapping | undefined;
  for (const mapping of mappings) {
    const isBelow = path === mapping.local || path.startsWith(`${mapping.local}/`);
    if (isBelow && mapping.local.length > (best?.local.length ?? 0)) best = mapping;
  }
  return best && best.remote + path.slice(best.local.length);
}
