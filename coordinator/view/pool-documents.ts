/** Documents about pools and their machines, as far as the client reads them. */
export interface PoolView {
  readonly name: string;
  readonly spec: PoolSettings;
  readonly provider: string;
  readonly definedBy: string;
  readonly state: 'enabled' | 'disabled' | 'cordoned' | 'retiring';
  readonly since: string | null;
  readonly reason: string | null;
  readonly requested: number | null;
  readonly counts: {
    readonly on: number;
    readonly starting: number;
    readonly stopping: number;
    readonly suspended: number;
  };
  readonly times: { readonly bootMs: number; readonly resumeMs: number; readonly offMs: number };
  readonly cooling: {
    readonly until: string;
    readonly fault: string;
    readonly message: string;
    readonly failureCount: number;
  } | null;
  readonly trouble: string | null;
  readonly totals: {
    readonly onMs: number;
    readonly suspendedMs: number;
    readonly powerOnCount: number;
    readonly failedPowerOnCount: number;
  };
  readonly cost: number | null;
  readonly machines?: readonly MachineView[];
}

/** What the client shows of a specification; there is more in it. */
export interface PoolSettings {
  readonly min: number;
  readonly max: number;
  readonly warm: number | { readonly slots: number };
  readonly idle: string;
  readonly onIdle: string;
  readonly fallback: readonly string[];
  readonly prices: { readonly onPerHour: number; readonly suspendedPerHour: number };
}

export interface MachineView {
  readonly id: string;
  readonly node: string;
  readonly pool: string;
  readonly phase: string;
  readonly since: string;
  readonly to: string | null;
  readonly reason: string | null;
  readonly why: string;
  readonly ref: string | null;
  readonly onMs: number;
  readonly suspendedMs: number;
}
