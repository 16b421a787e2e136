import type { AllocationId, AllocationRef, JobId, TaskId } from '../../shared/ids.js';
import type { AllocationEnd } from '../../shared/outcome.js';
import type { Usage } from '../../shared/usage.js';
import type { Body, LogAck, LogChunk, Report, StartOrder } from '../../shared/wire/messages.js';
import { aHello, anInventory, gpus } from './builders.js';

/** An attempt of one task. */
export const id = (attempt: number): AllocationId => `j1.train.0#${attempt}` as AllocationId;

/** One of every kind, and the odd ones among them. */
export const ENDS: readonly AllocationEnd[] = [
  { kind: 'exited', exitCode: 0, ranMs: 5 },
  { kind: 'exited', exitCode: 137, ranMs: 0 },
  { kind: 'signaled', signal: 'SIGKILL', ranMs: 7 },
  { kind: 'signaled', signal: 'SIGKILL', ranMs: 7, oom: true },
  { kind: 'start-failed', message: 'no such directory' },
  { kind: 'rejected', message: 'no docker here' },
  { kind: 'stopped', reason: 'time-limit', exitCode: 0, ranMs: 9 },
  { kind: 'stopped', reason: 'disk', ranMs: 9 },
  { kind: 'stopped', reason: 'canceled', ranMs: 0 },
  { kind: 'lost', message: 'the node rebooted' },
];

/** `id(1)` in its parts. */
export const ref: AllocationRef = { jobId: 'j1' as JobId, step: 'train', index: 0, attempt: 1 };

export const USAGE: Usage = {
  cpuMs: 1_230,
  peakMemoryBytes: 2 ** 34,
  readBytes: 1,
  writtenBytes: 2 ** 40,
  pulledMs: 4,
  stagedInMs: 5,
  startedMs: 6,
  stagedOutMs: 7,
  peakGpuMemoryBytes: 2 ** 37,
  gpuUtilizationPercent: 99,
};

export const reportOf = (end: AllocationEnd, attempt = 1, usage?: Usage): Report => ({
  allocationId: id(attempt),
  phase: 'ended',
  end: { end, stdoutBytes: 2 ** 40, stderrBytes: 0, ...(usage ? { usage, image: 'busybox@sha256:0' } : {}) },
  ageMs: 12,
});

export function anOrder(parts: Partial<StartOrder> = {}): StartOrder {
  return {
    allocationId: id(1),
    jobId: 'j1' as JobId,
    taskId: 'j1.train.0' as TaskId,
    jobName: 'align',
    namespace: 'lab',
    step: 'train',
    index: 0,
    attempt: 1,
    taskCount: 3,
    driver: 'process',
    image: null,
    run: { kind: 'command', argv: ['echo', 'größer 🚀', ''] },
    env: { A: '1', EMPTY: '', ['__proto__']: 'x' },
    workdir: '/data',
    resources: { cpuMillis: 1_500, memoryMiB: 15_360, diskMiB: 0 },
    gpus: gpus(2),
    gpuPart: null,
    timeLimitMs: 240_000,
    stop: { signal: 'SIGTERM', graceMs: 30_000 },
    ...parts,
  };
}

/** One of every kind, and the odd ones among them. */
export const BODIES: readonly Body[] = [
  {
    kind: 'hello',
    hello: aHello('n1', {
      inventory: anInventory({
        gpus: gpus(1),
        labels: { zone: 'eu' },
        drivers: ['process', 'docker'],
        volumes: [{ name: 'scans', writable: true }],
      }),
      held: [
        { allocationId: id(1), phase: 'running', ageMs: 4, startedAgeMs: 3 },
        { ...reportOf({ kind: 'lost', message: '' }, 2), startedAgeMs: 1 },
        { allocationId: id(3), phase: 'preparing', ageMs: 0 },
      ],
    }),
  },
  { kind: 'welcome', welcome: { protocol: 1, version: '0.1.0', heartbeatMs: 5_000 } },
  { kind: 'refuse', refuse: { code: 'name-taken', message: 'no', final: true } },
  {
    kind: 'sync',
    sync: { keep: [id(1)], stop: [{ allocationId: id(2), reason: 'stale' }], start: [anOrder()], forget: [id(4)] },
  },
  {
    kind: 'sync',
    sync: { keep: [], stop: [], start: [anOrder({ user: 'ann', pinCpus: true })], forget: [] },
  },
  { kind: 'sync', sync: { keep: [], stop: [], start: [], forget: [] } },
  {
    kind: 'orders',
    orders: {
      start: [anOrder({ run: { kind: 'script', script: 'echo hi\n', args: ['x'] }, timeLimitMs: null, workdir: null })],
      stop: [{ allocationId: id(2), reason: 'preempted' }],
    },
  },
  {
    kind: 'orders',
    orders: {
      start: [
        anOrder({ driver: 'docker', image: 'busybox:1', gpuPart: { shareMillis: 250, memoryMiB: 20_480 } }),
        anOrder({
          gang: { rank: 0, size: 2, peers: ['10.0.0.1', ''] },
          checkpoint: { signal: 'SIGUSR1', graceMs: 60_000 },
        }),
      ],
      stop: [],
    },
  },
  {
    kind: 'orders',
    orders: {
      start: [
        anOrder({
          container: {
            ...{ user: '1000:1000', readOnly: true, tmpfs: ['/tmp'], shmMiB: 64, network: 'bridge', pidsLimit: 9 },
            ...{ capAdd: ['CHOWN'], pull: 'newer', entrypoint: 'image' },
          },
          secrets: [
            { name: 'a', env: 'A', value: Uint8Array.of(0, 255) },
            { name: 'b', file: 'b', env: 'B', value: new Uint8Array(0) },
            { name: 'c', file: 'c', value: null },
          ],
          registryAuth: { username: 'ann', password: '' },
          inputs: [
            { source: { kind: 'url', url: 'https://a/b' }, to: 'a/b', sha256: 'a'.repeat(64), mode: 0o755 },
            { source: { kind: 'content', content: '' }, to: 'empty' },
            { source: { kind: 'fault', message: 'nothing there' }, to: 'inputs' },
          ],
          outputs: [{ path: '**/*.nii', as: 'x', required: true }, { path: 'log' }],
          volumes: [
            { name: 'scans', mount: '/scans', writable: true, subpath: 'a/b' },
            { name: 'x', mount: 'y' },
          ],
        }),
      ],
      stop: [],
    },
  },
  {
    kind: 'reports',
    reports: [
      {
        ...reportOf({ kind: 'outputs-failed', message: 'no model', ranMs: 4 }),
        end: {
          end: { kind: 'outputs-failed', message: 'no model', ranMs: 4 },
          stdoutBytes: 0,
          stderrBytes: 1,
          staging: {
            inputs: [{ path: 'a', sha256: 'b'.repeat(64), sizeBytes: 0 }],
            outputs: [{ path: 'r/ä', sha256: 'c'.repeat(64), sizeBytes: 2 ** 40 }],
            note: 'x is a symbolic link',
          },
        },
      },
    ],
  },
  { kind: 'reports', reports: ENDS.map((end) => reportOf(end)) },
  { kind: 'reports', reports: [{ allocationId: id(1), phase: 'stopping', ageMs: 1 }] },
  { kind: 'reports', reports: [reportOf({ kind: 'exited', exitCode: 0, ranMs: 5 }, 3, USAGE)] },
  { kind: 'departing', reason: 'scaled in' },
  {
    kind: 'inventory',
    inventory: anInventory({
      gpus: [...gpus(1, { fault: 'it must be reset' }), ...gpus(1, { index: 2_010, uuid: 'MIG-1', mig: '1g.10gb' })],
    }),
  },
  {
    kind: 'heartbeat',
    heartbeat: {
      ...{ cpuUsedMillis: 0, memoryUsedMiB: 0, diskFreeMiB: 0, sentAt: 0, load: 0 },
      gpus: [
        { index: 0, utilizationPercent: 0, memoryUsedMiB: 9_000, temperatureC: 41, powerWatts: 120 },
        { index: 2_010, memoryUsedMiB: 1 },
      ],
    },
  },
  {
    kind: 'heartbeat',
    heartbeat: {
      ...{ cpuUsedMillis: 0, memoryUsedMiB: 0, diskFreeMiB: 0, sentAt: 0, load: 0 },
      preparing: [
        { allocationId: id(1), preparation: { kind: 'staging' } },
        { allocationId: id(2), preparation: { kind: 'pulling', image: 'lab:5000/a:1', bytes: 2 ** 40, totalBytes: 0 } },
      ],
    },
  },
  {
    kind: 'heartbeat',
    heartbeat: { cpuUsedMillis: 1, memoryUsedMiB: 2, diskFreeMiB: 3, sentAt: 1_767_225_600_000, load: 1.25 },
  },
  { kind: 'log-chunk', chunk: aChunk(2 ** 33, 'bytes', { last: true }) },
  { kind: 'log-chunk', chunk: aChunk(0, '') },
  { kind: 'log-chunk', chunk: aChunk(2 ** 34, '', { missingBytes: 2 ** 33, ageMs: 5 }) },
  { kind: 'log-ack', ack: anAck(9, { stream: 'stderr', complete: true }) },
  { kind: 'nothing' },
];

/** A piece of the standard output of `id(1)`. */
export function aChunk(offset: number, text: string, parts: Partial<LogChunk> = {}): LogChunk {
  return { allocationId: id(1), stream: 'stdout', offset, bytes: Buffer.from(text), last: false, ...parts };
}

/** What the coordinator says of that stream. */
export function anAck(offset: number, parts: Partial<LogAck> = {}): LogAck {
  return { allocationId: id(1), stream: 'stdout', offset, complete: false, ...parts };
}
