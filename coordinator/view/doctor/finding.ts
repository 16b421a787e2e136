/** One thing that was looked at. */
export interface Finding {
  readonly check: string;
  readonly state: 'ok' | 'warn' | 'fail';
  readonly detail: string;
  /** What to do; absent where nothing is to be done. */
  readonly fix?: string;
}

export function ok(check: string, detail: string): Finding {
  return { check, state: 'ok', detail };
}

/** Something works less well, or not at all for those who need it. */
export function warn(check: string, detail: string, fix: string): Finding {
  return { check, state: 'warn', detail, fix };
}

export function fail(check: string, detail: string, fix: string): Finding {
  return { check, state: 'fail', detail, fix };
}
