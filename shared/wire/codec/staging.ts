import { SHA256, type StoredOutput } from '../../artifact.js';
import type { OutputSpec, VolumeMount } from '../../job-spec/staging-spec.js';
import { relativePathComplaint } from '../../relative-path.js';
import type { InputOrder, StagingRecord, StartOrder, Volume } from '../messages.js';
import { whole } from './amounts.js';
import * as field from './fields.js';
import type {
  WireEnd,
  WireInput,
  WireInventory,
  WireOutput,
  WireStart,
  WireStoredFile,
  WireVolumeMount,
} from './generated.js';

type StagingOrder = Pick<StartOrder, 'inputs' | 'outputs' | 'volumes'>;

export function stagingToWire({ inputs, outputs, volumes }: StagingOrder): WireStart {
  return {
    inputs: (inputs ?? []).map(inputToWire),
    outputs: (outputs ?? []).map(outputToWire),
    volumes: (volumes ?? []).map(mountToWire),
  };
}

/** What an order has none of is absent, as in orders of coordinators that know nothing of staging. */
export function stagingFromWire(start: WireStart, where: string): StagingOrder {
  const inputs = field.each(start.inputs, inputFromWire, `${where}.inputs`);
  const outputs = field.each(start.outputs, outputFromWire, `${where}.outputs`);
  const volumes = field.each(start.volumes, mountFromWire, `${where}.volumes`);
  return {
    ...(inputs.length === 0 ? {} : { inputs }),
    ...(outputs.length === 0 ? {} : { outputs }),
    ...(volumes.length === 0 ? {} : { volumes }),
  };
}

export function recordToWire(record: StagingRecord | undefined): WireEnd {
  if (record === undefined) return {};
  return {
    artifacts: record.outputs.map(storedToWire),
    inputs: record.inputs.map(storedToWire),
    stagingNote: record.note ?? '',
  };
}

export function recordFromWire(end: WireEnd, where: string): { staging?: StagingRecord } {
  const outputs = field.each(end.artifacts, storedFromWire, `${where}.artifacts`);
  const inputs = field.each(end.inputs, storedFromWire, `${where}.inputs`);
  const note = end.stagingNote || undefined;
  if (outputs.length + inputs.length === 0 && note === undefined) return {};
  return { staging: { inputs, outputs, ...(note === undefined ? {} : { note }) } };
}

export function volumesFromWire(inventory: WireInventory): { volumes?: readonly Volume[] } {
  const volumes = field.each(
    inventory.volumes,
    ({ name, writable }, where) => ({ name: field.filled(name, `${where}.name`), writable: writable ?? false }),
    'hello.inventory.volumes',
  );
  return volumes.length === 0 ? {} : { volumes };
}

function inputToWire({ source, to, sha256, mode }: InputOrder): WireInput {
  return {
    to,
    sha256: sha256 ?? '',
    mode: mode ?? 0,
    url: source.kind === 'url' ? source.url : '',
    content: source.kind === 'content' ? source.content : '',
    fault: source.kind === 'fault' ? source.message : '',
  };
}

function inputFromWire(input: WireInput, where: string): InputOrder {
  const { mode, url, fault, content } = input;
  const source = fault
    ? ({ kind: 'fault', message: fault } as const)
    : url
      ? ({ kind: 'url', url } as const)
      : ({ kind: 'content', content: content ?? '' } as const);
  return {
    source,
    to: path(input.to, `${where}.to`),
    ...(input.sha256 ? { sha256: digest(input.sha256, `${where}.sha256`) } : {}),
    ...(mode ? { mode } : {}),
  };
}

function outputToWire({ path: glob, as, required }: OutputSpec): WireOutput {
  return { path: glob, as: as ?? '', required: required ?? false };
}

function outputFromWire(output: WireOutput, where: string): OutputSpec {
  return {
    path: path(output.path, `${where}.path`),
    ...(output.as ? { as: path(output.as, `${where}.as`) } : {}),
    ...(output.required ? { required: true } : {}),
  };
}

function mountToWire({ name, mount, writable, subpath }: VolumeMount): WireVolumeMount {
  return { name, mount, writable: writable ?? false, subpath: subpath ?? '' };
}

function mountFromWire(volume: WireVolumeMount, where: string): VolumeMount {
  return {
    name: field.filled(volume.name, `${where}.name`),
    mount: field.filled(volume.mount, `${where}.mount`),
    ...(volume.writable ? { writable: true } : {}),
    ...(volume.subpath ? { subpath: path(volume.subpath, `${where}.subpath`) } : {}),
  };
}

function storedToWire({ path: name, sha256, sizeBytes }: StoredOutput): WireStoredFile {
  return { path: name, sha256, sizeBytes: whole(sizeBytes) };
}

function storedFromWire(file: WireStoredFile, where: string): StoredOutput {
  return {
    path: path(file.path, `${where}.path`),
    sha256: digest(file.sha256, `${where}.sha256`),
    sizeBytes: field.count(file.sizeBytes, `${where}.sizeBytes`),
  };
}

function digest(text: string | null | undefined, where: string): string {
  if (text && SHA256.test(text)) return text;
  throw field.violation(where, 'is no SHA-256');
}

/** Both ends hold paths to the same rules, so that neither has to trust the other. */
function path(text: string | null | undefined, where: string): string {
  const complaint = relativePathComplaint(text ?? '');
  if (complaint === undefined) return text ?? '';
  throw field.violation(where, complaint);
}
