/** The report and the receipts of the HTTP interface, as far as the client reads them. */
export interface ReportView {
  readonly from: string;
  readonly until: string;
  readonly machinesSince: string | null;
  readonly jobsLeftOut: boolean;
  readonly waits: { readonly all: WaitView | null; readonly byName: readonly (WaitView & { readonly name: string })[] };
  readonly pools: readonly PoolReport[];
  readonly jobs: readonly ReportedJob[];
  readonly machines: readonly ReportedSpan[];
}

export interface WaitView {
  readonly count: number;
  readonly meanMs: number;
  readonly p50Ms: number;
  readonly p95Ms: number;
  readonly maxMs: number;
}

export interface PoolReport {
  readonly pool: string;
  readonly onMs: number;
  readonly busyMs: number;
  readonly idleMs: number;
  readonly bootMs: number;
  readonly offMs: number;
  readonly suspendedMs: number;
  readonly powerOnCount: number;
  readonly failedPowerOnCount: number;
  readonly cost: number | null;
  readonly unusedCost: number | null;
}

export interface ReportedJob {
  readonly submittedAt: string;
  readonly startedAt: string | null;
  readonly finishedAt: string | null;
  readonly outcome: string | null;
}

export interface ReportedSpan {
  readonly state: 'busy' | 'idle' | 'booting' | 'resuming' | 'switching off' | 'suspended';
  readonly from: string;
  readonly until: string;
}

export interface ReceiptView {
  readonly receipt: {
    readonly nodeMs: number;
    readonly servedMs: number;
    readonly overheadMs: number;
    readonly parkedMs: number;
    readonly cost: number;
    readonly overheadCost: number;
    readonly isFinal: boolean;
  } | null;
}
