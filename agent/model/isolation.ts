/** How far a task is kept apart: not, in its control groups alone, or also in namespaces, a user and a /tmp of its own. */
export const ISOLATIONS = ['none', 'cgroup', 'full'] as const;
export type Isolation = (typeof ISOLATIONS)[number];
