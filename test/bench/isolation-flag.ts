const MODES = ['none', 'cgroup', 'full'] as const;

/** The bench's flag by which its agent keeps tasks apart. */
export function isolationOf(text: string): (typeof MODES)[number] {
  const known = MODES.find((mode) => mode === text);
  if (known === undefined) throw new Error(`--isolation is one of ${MODES.join(', ')}`);
  return known;
}
