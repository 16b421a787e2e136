/** How far the pull of an image is. */
export interface PullProgress {
  /** Bytes that have come so far, of all that are known of. */
  readonly bytes: number;
  readonly totalBytes: number;
}

interface Line {
  readonly id?: string;
  readonly status?: string;
  readonly error?: string;
  readonly progressDetail?: { readonly current?: number; readonly total?: number };
}

/** Adds up what Docker tells of an image's layers, a line of JSON at a time. */
export class PullMeter {
  readonly #layers = new Map<string, { bytes: number; totalBytes: number }>();

  take(text: string): PullProgress | { readonly error: string } {
    const { id, status, error, progressDetail } = JSON.parse(text) as Line;
    if (error !== undefined) return { error };
    const layer = id === undefined ? undefined : this.#layers.get(id);
    if (id !== undefined && status === 'Downloading' && progressDetail?.total) {
      this.#layers.set(id, { bytes: progressDetail.current ?? 0, totalBytes: progressDetail.total });
    } else if (layer && status !== 'Downloading') layer.bytes = layer.totalBytes;
    let bytes = 0;
    let totalBytes = 0;
    for (const one of this.#layers.values()) {
      bytes += one.bytes;
      totalBytes += one.totalBytes;
    }
    return { bytes, totalBytes };
  }
}
