import type { Cancel, Clock } from '../../../shared/clock.js';
import { isDeepEqual } from '../../../shared/equal.js';
import type { Log } from '../../../shared/log.js';
import type { GpuDevice } from '../../../shared/resources.js';
import type { GpuSample, Inventory } from '../../../shared/wire/messages.js';
import type { Gpu, GpuPage, GpuReading, GpuSource } from './gpu.js';
import type { GpuFiles } from './gpu-files.js';
import { samplesOf } from './gpu-samples.js';
import { devicesIn, type GpuUse } from './gpu-use.js';
import type { KernelLog } from './kernel-log.js';
import { type KnownGpu, knownAfter, withFault } from './known-gpus.js';
import { Quarantine } from './quarantine.js';
import { XidWatch } from './xid-watch.js';

export interface GpuWatchOptions {
  readonly source: GpuSource;
  readonly files: GpuFiles;
  readonly use: GpuUse;
  readonly kernelLog: KernelLog;
  readonly bootId: string;
  readonly clock: Clock;
  readonly log: Log;
  /** From the end of one look to the next. */
  readonly everyMs: number;
  /** What is offered has changed. */
  readonly changed: () => void;
}

/** Looks in a row without an answer after which no device is believed to work. */
const SILENT_LOOKS = 2;
/** How long the first connection waits for the first look, where nothing is known of this boot. */
const FIRST_LOOK_MS = 2_000;

interface Offer {
  readonly devices: readonly GpuDevice[];
  readonly attributes: Readonly<Record<string, string>>;
}

/** Keeps an eye on the machine's GPUs: what of them is offered, and what they are doing. */
export class GpuWatch {
  readonly #options: GpuWatchOptions;
  readonly #quarantine = new Quarantine();
  readonly #xids: XidWatch;
  #known: readonly KnownGpu[] = [];
  #versions: Pick<GpuPage, 'driverVersion' | 'cudaVersion'> = { driverVersion: null, cudaVersion: null };
  #offer: Offer = { devices: [], attributes: {} };
  #samples: readonly GpuSample[] = [];
  #silentLooks = 0;
  #complaint: string | undefined;
  #firstLook: Promise<void> | undefined;
  #cancelNext: Cancel = () => {};
  readonly #stopping = new AbortController();

  constructor(options: GpuWatchOptions) {
    this.#options = options;
    this.#xids = new XidWatch(options.kernelLog);
  }

  /** Begins to look, once, and resolves when there is something to offer, or when it is not worth waiting longer. */
  async start(): Promise<void> {
    if (this.#firstLook === undefined) {
      this.#recall();
      this.#firstLook = this.#look();
    }
    if (this.#known.length > 0) return;
    await Promise.race([
      this.#firstLook,
      new Promise<void>((resolve) => this.#options.clock.after(FIRST_LOOK_MS, resolve)),
    ]);
  }

  stop(): void {
    this.#stopping.abort();
    this.#xids.close();
    this.#cancelNext();
  }

  /** The inventory with its GPUs. */
  addTo(inventory: Inventory): Inventory {
    const { devices, attributes } = this.#offer;
    return { ...inventory, gpus: devices, attributes: { ...inventory.attributes, ...attributes } };
  }

  get hasDevices(): boolean {
    return this.#offer.devices.length > 0;
  }

  /** What the devices did at the last look; empty when that brought no answer. */
  get samples(): readonly GpuSample[] {
    return this.#samples;
  }

  #recall(): void {
    const notes = this.#options.files.readNotes();
    if (notes?.bootId !== this.#options.bootId) return;
    this.#known = notes.gpus;
    this.#versions = notes;
    this.#xids.recall(notes.xidFaults ?? {});
    this.#offer = this.#judged();
  }

  async #look(): Promise<void> {
    const tellUse = this.#options.use.expectLook();
    const reading = await this.#options.source.read(this.#stopping.signal);
    if (this.#stopping.signal.aborted) return;
    this.#note(reading);
    if (reading.kind === 'read') tellUse(this.#eachOf(reading.page, devicesIn));
    const offer = this.#judged();
    const hasChanged = !isDeepEqual(offer, this.#offer);
    if (hasChanged) this.#logChange(offer);
    this.#offer = offer;
    if (hasChanged) {
      const { files, bootId } = this.#options;
      files.writeNotes({ bootId, gpus: this.#known, xidFaults: this.#xids.faults, ...this.#versions });
      this.#options.changed();
    }
    this.#cancelNext = this.#options.clock.after(this.#options.everyMs, () => void this.#look());
  }

  #note(reading: GpuReading): void {
    if (reading.kind === 'read') {
      const page = this.#xids.marked(reading.page, this.#options.files.readDecisions());
      const { driverVersion, cudaVersion } = page;
      this.#silentLooks = 0;
      this.#complaint = undefined;
      this.#known = knownAfter(this.#known, page);
      this.#versions = { driverVersion, cudaVersion };
      this.#samples = this.#eachOf(page, samplesOf);
      return;
    }
    this.#samples = [];
    const complaint = reading.kind === 'failed' ? reading.reason : 'nvidia-smi is gone';
    if (reading.kind === 'failed' && this.#complaint !== complaint) {
      this.#options.log.warn('GPUs cannot be read', { reason: complaint });
    }
    this.#complaint = complaint;
    this.#silentLooks += 1;
    if (this.#silentLooks >= SILENT_LOOKS) this.#known = this.#known.map((gpu) => withFault(gpu, complaint));
  }

  /** What is to be said of each GPU, by the index that its devices go by. */
  #eachOf<Said>({ gpus }: GpuPage, say: (gpu: Gpu, index: number) => readonly Said[]): readonly Said[] {
    const indexes = new Map(this.#known.map(({ uuid, index }) => [uuid, index]));
    return gpus.flatMap((gpu) => say(gpu, indexes.get(gpu.uuid) ?? gpu.position));
  }

  #judged(): Offer {
    const { driverVersion, cudaVersion } = this.#versions;
    const devices = this.#known.flatMap((gpu) => gpu.devices);
    return {
      devices: this.#quarantine.judge(devices, this.#options.files.readDecisions()),
      attributes: {
        ...(driverVersion === null ? {} : { nvidiaDriver: driverVersion }),
        ...(cudaVersion === null ? {} : { cuda: cudaVersion }),
        ...(this.#xids.canRead ? { xid: 'watched' } : {}),
      },
    };
  }

  #logChange({ devices }: Offer): void {
    const before = new Map(this.#offer.devices.map((device) => [device.uuid, device.fault]));
    for (const { uuid, index, model, fault } of devices) {
      if (fault !== undefined && before.get(uuid) !== fault) {
        this.#options.log.warn('GPU out of use', { index, uuid, fault });
      } else if (fault === undefined && before.get(uuid) !== undefined) {
        this.#options.log.info('GPU in use again', { index, uuid });
      } else if (!before.has(uuid)) this.#options.log.info('GPU found', { index, uuid, model });
    }
  }
}
