// Comes first: it must take effect before the generated code looks for 64-bit integers.
import './protobuf-numbers.js';
import { berth } from '../../../proto/gen/agent.js';

/** The generated codec; the only way to it. */
export const wire = berth.wire;

export type WireFrame = berth.wire.Frame.$Properties;
export type WireHello = berth.wire.Hello.$Properties;
export type WireInventory = berth.wire.Inventory.$Properties;
export type WireGpu = berth.wire.Gpu.$Properties;
export type WireInput = berth.wire.Input.$Properties;
export type WireOutput = berth.wire.Output.$Properties;
export type WireVolumeMount = berth.wire.VolumeMount.$Properties;
export type WireStoredFile = berth.wire.StoredFile.$Properties;
export type WireHeld = berth.wire.Held.$Properties;
export type WireSync = berth.wire.Sync.$Properties;
export type WireOrders = berth.wire.Orders.$Properties;
export type WireStart = berth.wire.Start.$Properties;
export type WireContainer = berth.wire.Container.$Properties;
export type WireStop = berth.wire.Stop.$Properties;
export type WireSecret = berth.wire.Secret.$Properties;
export type WireReport = berth.wire.Report.$Properties;
export type WireEnd = berth.wire.End.$Properties;
export type WirePhase = berth.wire.Phase;
export type WireStream = berth.wire.Stream;
export type WireHeartbeat = berth.wire.Heartbeat.$Properties;
export type WirePreparation = berth.wire.Preparation.$Properties;
export type WireGpuSample = berth.wire.GpuSample.$Properties;
