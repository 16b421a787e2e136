import { createHash } from 'node:crypto';
import type { Test } from 'tap';
import type { ArtifactStore } from '../../coordinator/artifacts/artifact-store.js';
import { ARTIFACT_LIMITS } from '../../shared/artifact.js';

/** A place where artifacts live; each call opens it anew, as a new process would. */
export interface ArtifactPlace {
  readonly open: () => Promise<ArtifactStore>;
  /** Lets time pass. */
  readonly wait: (durationMs: number) => void;
}

/** What every artifact store must do. Its largest artifact is `MAX_BYTES`. */
export function artifactStoreConformance(t: Test, makePlace: (t: Test) => Promise<ArtifactPlace>): void {
  for (const [title, run] of Object.entries(PROMISES)) t.test(title, async (t) => run(t, await makePlace(t)));
}

export const MAX_BYTES = 1_000_000;
const NOTHING = createHash('sha256').digest('hex');

const PROMISES: Readonly<Record<string, (t: Test, place: ArtifactPlace) => Promise<void>>> = {
  'what was put comes back, whole or in part, from the next owner too': async (t, { open }) => {
    const content = Buffer.from('0123456789');
    const put = await (await open()).put(pieces(content.subarray(0, 3), content.subarray(3)));
    t.strictSame(put, { sha256: digestOf(content), sizeBytes: 10 });
    const store = await open();
    t.strictSame(await store.find(put.sha256), put);
    t.equal(await textOf(store.read(put.sha256, { from: 0, to: 10 })), '0123456789');
    t.equal(await textOf(store.read(put.sha256, { from: 2, to: 5 })), '234');
    t.equal(await textOf(store.read(put.sha256, { from: 10, to: 10 })), '');
  },

  'an empty file is a file': async (t, { open }) => {
    const store = await open();
    t.strictSame(await store.put(pieces()), { sha256: NOTHING, sizeBytes: 0 });
    t.strictSame(await store.find(NOTHING), { sha256: NOTHING, sizeBytes: 0 });
  },

  'what is there already is not read again': async (t, { open }) => {
    const store = await open();
    const put = await store.put(pieces(Buffer.from('once')));
    const unread = {
      [Symbol.asyncIterator](): AsyncIterator<Uint8Array> {
        throw new Error('it was read');
      },
    };
    t.strictSame(await store.put(unread, put.sha256), put);
  },

  'the same content put twice at once is kept once, and both are answered': async (t, { open }) => {
    const store = await open();
    const content = Buffer.alloc(300_000, 'x');
    const [first, second] = await Promise.all([store.put(pieces(content)), store.put(pieces(content))]);
    t.strictSame(first, second);
    t.equal((await textOf(store.read(first.sha256, { from: 0, to: first.sizeBytes }))).length, 300_000);
  },

  'content that is not what its digest says is refused, and nothing of it is kept': async (t, { open }) => {
    const store = await open();
    const content = Buffer.from('other');
    await t.rejects(store.put(pieces(content), NOTHING), { code: 'digest-mismatch', message: new RegExp(NOTHING) });
    t.equal(await store.find(NOTHING), undefined);
    t.equal(await store.find(digestOf(content)), undefined);
  },

  'an upload that breaks, or is too large, leaves nothing': async (t, { open }) => {
    const store = await open();
    const half = Buffer.from('half');
    await t.rejects(store.put(broken(half)), { message: 'the connection broke' });
    t.equal(await store.find(digestOf(half)), undefined);
    const large = Buffer.alloc(MAX_BYTES + 1);
    await t.rejects(store.put(pieces(large)), { code: 'payload-too-large' });
    t.equal(await store.find(digestOf(large)), undefined);
  },

  'reading what is not there says so': async (t, { open }) => {
    const store = await open();
    t.equal(await store.find(NOTHING), undefined);
    await t.rejects(textOf(store.read(NOTHING, { from: 0, to: 1 })), { code: 'not-found' });
  },

  'only what nothing refers to is collected, and only after its grace': async (t, { open, wait }) => {
    const store = await open();
    const used = await store.put(pieces(Buffer.from('used')));
    const unused = await store.put(pieces(Buffer.from('unused')));
    const touched = await store.put(pieces(Buffer.from('touched')));
    const isUsed = (sha256: string): boolean => sha256 === used.sha256;
    t.strictSame(await store.collect(isUsed), { count: 0, bytes: 0 }, 'in its time of grace everything stays');
    wait(ARTIFACT_LIMITS.graceMs + 1);
    await store.find(touched.sha256);
    t.strictSame(await store.collect(isUsed), { count: 1, bytes: 6 });
    t.strictSame(await store.find(used.sha256), used);
    t.strictSame(await store.find(touched.sha256), touched);
    t.equal(await store.find(unused.sha256), undefined);
  },

  'too many uploads at once are refused': async (t, { open }) => {
    const store = await open();
    let release = (): void => {};
    const gate = new Promise<void>((resolve) => {
      release = resolve;
    });
    const waiting = Array.from({ length: ARTIFACT_LIMITS.maxUploads }, () => store.put(gated(gate)));
    await t.rejects(store.put(pieces()), { code: 'too-many-streams' });
    release();
    await Promise.all(waiting);
    t.equal((await store.put(pieces())).sha256, NOTHING, 'there is room again');
  },
};

export async function* pieces(...content: Uint8Array[]): AsyncGenerator<Uint8Array> {
  yield* content;
}

async function* broken(content: Uint8Array): AsyncGenerator<Uint8Array> {
  yield content;
  throw new Error('the connection broke');
}

async function* gated(gate: Promise<void>): AsyncGenerator<Uint8Array> {
  await gate;
  yield Buffer.from('late');
}

export function digestOf(content: Uint8Array | string): string {
  return createHash('sha256').update(content).digest('hex');
}

async function textOf(content: AsyncIterable<Uint8Array>): Promise<string> {
  let text = '';
  for await (const piece of content) text += Buffer.from(piece).toString();
  return text;
}
