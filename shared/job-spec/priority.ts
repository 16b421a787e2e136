/** Priorities with a name; any whole number between the lowest and the highest is one too. */
export const PRIORITY_CLASSES = { lowest: -1_000, low: -100, normal: 0, high: 100, highest: 1_000 } as const;
