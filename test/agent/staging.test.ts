import { execFileSync, spawnSync } from 'node:child_process';
import { createHash, createHmac } from 'node:crypto';
import { existsSync, linkSync, mkdirSync, readFileSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import { createServer, type IncomingMessage } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { parseVolumes } from '../../agent/config/volumes.js';
import { ArtifactClient } from '../../agent/staging/artifact-client.js';
import { FileStaging, type FileStagingOptions } from '../../agent/staging/file-staging.js';
import { collectOutputs } from '../../agent/staging/outputs.js';
import { S3Access } from '../../agent/staging/s3.js';
import { createFile, openFile } from '../../agent/staging/workspace.js';
import { systemClock } from '../../shared/clock.js';
import { Unfit } from '../../shared/config.js';
import type { OutputSpec } from '../../shared/job-spec/staging-spec.js';
import { silentLog } from '../../shared/log.js';
import { systemRandom } from '../../shared/random.js';
import type { InputOrder, StartOrder } from '../../shared/wire/messages.js';
import { digestOf } from '../conformance/artifact-store.js';
import { temporaryFolder } from '../kit/temporary-folder.js';
import { anOrder } from '../kit/wire-samples.js';

const never = new AbortController().signal;
const CONTAINERS: FileStagingOptions['views'] = new Map([
  ['docker', async () => ({ kind: 'container', workspace: () => '/workspace' })],
]);
const CELLS: FileStagingOptions['views'] = new Map([
  ['process', async () => ({ kind: 'cell', workspace: (id) => `/tmp/${id}` })],
]);

function aStaging(folder: string, parts: Partial<FileStagingOptions> = {}): FileStaging {
  return new FileStaging({
    directory: join(folder, 'staging'),
    inputRoots: [],
    volumes: [],
    views: new Map([['process', async () => ({ kind: 'node' })]]),
    artifacts: new ArtifactClient({ url: 'http://127.0.0.1:9', token: 'none' }),
    s3: null,
    clock: systemClock,
    random: systemRandom,
    log: silentLog,
    ...parts,
  });
}

function stagedOrder(parts: Partial<StartOrder>): StartOrder {
  return anOrder({ workdir: null, env: {}, ...parts });
}

function content(to: string, text: string): InputOrder {
  return { to, source: { kind: 'content', content: text } };
}

t.test('a file is made only below its folder, whatever stands in its way', async (t) => {
  const folder = temporaryFolder(t);
  const work = join(folder, 'work');
  mkdirSync(join(work, 'real'), { recursive: true });
  mkdirSync(join(folder, 'outside'));
  symlinkSync(join(folder, 'outside'), join(work, 'link'));
  symlinkSync(join(folder, 'outside', 'new'), join(work, 'dangling'));
  writeFileSync(join(work, 'there'), 'old');
  for (const path of ['link/a', 'dangling', 'there', 'there/below']) {
    await t.rejects(createFile(work, path, 0o644), path);
  }
  t.same(execFileSync('ls', [join(folder, 'outside')]).toString(), '', 'nothing came to lie outside');
  t.equal(readFileSync(join(work, 'there'), 'utf8'), 'old');
  await (await createFile(work, 'real/deep/a', 0o600)).close();
  t.ok(existsSync(join(work, 'real', 'deep', 'a')));
});

t.test('a file is opened only when it is a plain one of its own below its folder', async (t) => {
  const folder = temporaryFolder(t);
  const work = join(folder, 'work');
  mkdirSync(join(work, 'sub'), { recursive: true });
  mkdirSync(join(folder, 'outside'));
  writeFileSync(join(folder, 'outside', 'secret'), 'secret');
  writeFileSync(join(folder, 'outside', 'linked'), 'secret');
  symlinkSync('../outside/secret', join(work, 'link'));
  symlinkSync('../outside', join(work, 'folder'));
  linkSync(join(folder, 'outside', 'linked'), join(work, 'hard'));
  execFileSync('mkfifo', [join(work, 'pipe')]);
  const refusals = {
    link: 'is a symbolic link',
    'folder/secret': 'lies outside of it',
    '../outside/secret': 'lies outside of it',
    hard: 'has another name (a hard link)',
    pipe: 'is not a plain file',
    sub: 'is not a plain file',
    absent: /ENOENT/,
  };
  for (const [path, refusal] of Object.entries(refusals)) t.match(await openFile(work, path), refusal, path);
  if (spawnSync('mknod', [join(work, 'device'), 'c', '1', '5']).status === 0) {
    t.equal(await openFile(work, 'device'), 'is not a plain file', 'a device');
  }
});

t.test('outputs are what the patterns say, under the names that they say, and nothing else', async (t) => {
  const folder = temporaryFolder(t);
  const write = (name: string): void => {
    mkdirSync(join(folder, name, '..'), { recursive: true });
    writeFileSync(join(folder, name), name);
  };
  for (const name of ['a.nii', 'r/1.nii', 'r/s/2.nii', 'r/.hidden', 'log/x', 'log/y/z', 'Log/x', 'odd\nname', 'b'])
    write(name);
  symlinkSync('/etc/passwd', join(folder, 'r', 'passwd.nii'));
  mkdirSync(join(folder, '..elsewhere'), { recursive: true });
  const kept = async (...specs: OutputSpec[]) => {
    const found = await collectOutputs(folder, specs, async ({ sizeBytes }) => ({ sha256: digestOf(''), sizeBytes }));
    return { ...found, outputs: found.outputs.map(({ path }) => path) };
  };
  t.match(await kept({ path: '**/*.nii' }), {
    outputs: ['a.nii', 'r/1.nii', 'r/s/2.nii'],
    complaints: ['r/passwd.nii is a symbolic link'],
  });
  t.match(await kept({ path: 'r/*.nii', as: 'out' }), { outputs: ['out/r/1.nii'] });
  t.match(await kept({ path: 'log' }), { outputs: ['log/x', 'log/y/z'] }, 'a folder is all that is in it');
  t.match(await kept({ path: 'log', as: 'l' }), { outputs: ['l/x', 'l/y/z'] });
  t.match(await kept({ path: 'a.nii', as: 'renamed' }), { outputs: ['renamed'], missing: [] });
  t.match(await kept({ path: 'a.nii', as: 'b' }, { path: 'b' }), { outputs: ['b'], complaints: [/same name/] });
  t.match(await kept({ path: '*og/x' }), { complaints: [/same name/] }, 'names that differ in case alone are one');
  t.match(await kept({ path: '**' }), { outputs: ['a.nii', 'b', /^[Ll]og/, 'log/y/z', 'r/1.nii', 'r/s/2.nii'] });
  t.match(await kept({ path: 'none*', required: true }, { path: 'a.nii', required: true }), { missing: ['none*'] });
});

t.test('staging begins anew in an empty workspace, and leaves nothing when it is removed', async (t) => {
  const folder = temporaryFolder(t);
  const staging = aStaging(folder);
  const order = stagedOrder({ inputs: [content('d/a', 'text'), { ...content('run', '#!/bin/sh'), mode: 0o755 }] });
  const first = await staging.stageIn(order, never);
  const work = first.workdir ?? '';
  t.equal(first.env.BERTH_WORKSPACE, work);
  writeFileSync(join(work, 'left'), 'by a try that was cut off');
  await staging.stageIn(order, never);
  t.same(execFileSync('ls', [work]).toString(), 'd\nrun\n');
  t.equal(execFileSync('stat', ['-c', '%a', join(work, 'run'), join(work, 'd/a')]).toString(), '755\n644\n');
  const { record } = await staging.stageOut(order, never);
  t.match(record, { inputs: [{ path: 'd/a', sha256: digestOf('text'), sizeBytes: 4 }, { path: 'run' }], outputs: [] });

  const next = aStaging(folder);
  await next.recover([order.allocationId]);
  t.ok(existsSync(work), 'the next process keeps what is still of interest');
  await next.remove(order.allocationId);
  t.notOk(existsSync(work));
  await staging.stageIn(order, never);
  await aStaging(folder).recover([]);
  t.notOk(existsSync(work), 'and removes what is not');
});

t.test('an input that cannot be had says which, from where, and what to do', async (t) => {
  const folder = temporaryFolder(t);
  const staging = aStaging(folder);
  const fails = async (input: InputOrder, message: RegExp): Promise<void> => {
    await t.rejects(staging.stageIn(stagedOrder({ inputs: [input] }), never), { code: 'task-start-failed', message });
  };
  const from = (url: string): InputOrder => ({ to: 'x', source: { kind: 'url', url } });
  await fails(from('s3://bucket/key'), /inputs\[0\] "x" from s3:\/\/bucket\/key.*--s3-credentials/);
  await fails(from('file:///etc/passwd'), /in none of the folders.*\(none\).*--input-root/);
  await fails(from('file:///absent'), /ENOENT.*is the path right/);
  await fails({ to: 'inputs', source: { kind: 'fault', message: 'the step left nothing' } }, /the step left nothing/);
  await fails({ ...content('x', 'a'), sha256: digestOf('b') }, new RegExp(`${digestOf('a')}.*${digestOf('b')}`));
  const twice = stagedOrder({ inputs: [content('x', 'a'), content('x/y', 'b')] });
  await t.rejects(staging.stageIn(twice, never), { message: /inputs\[1\] "x\/y"/ });
});

t.test('a folder of the node is no input, and a pipe in it is not waited for', async (t) => {
  const folder = temporaryFolder(t);
  execFileSync('mkfifo', [join(folder, 'pipe')]);
  const staging = aStaging(folder, { inputRoots: [folder] });
  for (const name of ['pipe', 'staging']) {
    const inputs: InputOrder[] = [{ to: 'x', source: { kind: 'url', url: `file://${join(folder, name)}` } }];
    await t.rejects(staging.stageIn(stagedOrder({ inputs }), never), { message: /is not a plain file/ });
  }
});

t.test('a volume is a link, or a mount where the driver mounts, and its subpath never leads out of it', async (t) => {
  const folder = temporaryFolder(t);
  mkdirSync(join(folder, 'scans', 'lung'), { recursive: true });
  mkdirSync(join(folder, 'elsewhere'));
  symlinkSync('../elsewhere', join(folder, 'scans', 'out'));
  symlinkSync('lung', join(folder, 'scans', 'in'));
  writeFileSync(join(folder, 'scans', 'file'), '');
  execFileSync('mkfifo', [join(folder, 'scans', 'pipe')]);
  const volumes = parseVolumes(`scans=${folder}/scans\nunmounted=path=${folder}/scans,mounted=true`);
  if (volumes instanceof Unfit) throw new Error(volumes.message);
  const staging = aStaging(folder, { volumes });
  const prepare = (...wanted: NonNullable<StartOrder['volumes']>) =>
    staging.stageIn(stagedOrder({ volumes: wanted }), never);

  const linked = await prepare({ name: 'scans', mount: 'data/in', subpath: 'in' });
  t.equal(linked.env.BERTH_VOLUME_SCANS, join(folder, 'scans', 'lung'));
  t.ok(existsSync(join(linked.workdir ?? '', 'data', 'in')));
  const refusals = [
    [{ name: 'scans', mount: 'x', subpath: 'out' }, /"scans": its subpath "out" leads out of it/],
    [{ name: 'scans', mount: 'x', subpath: 'absent' }, /"scans": absent is not there; is it there/],
    [{ name: 'scans', mount: 'x', subpath: 'file' }, /is not a folder/],
    [{ name: 'scans', mount: '/scans' }, /isolates no processes, and cannot mount it at \/scans/],
    [{ name: 'scans', mount: 'x', subpath: 'pipe' }, /is not a folder/],
    [{ name: 'scans', mount: 'x', subpath: 'lung/../../elsewhere' }, /leads out of it/],
    [{ name: 'scans', mount: 'x', writable: true }, /read-only/],
    [{ name: 'models', mount: 'x' }, /none of that name/],
    [{ name: 'unmounted', mount: 'x' }, /nothing is mounted at/],
  ] as const;
  for (const [wanted, message] of refusals) await t.rejects(prepare(wanted), { code: 'task-start-failed', message });

  const blind = stagedOrder({ driver: 'docker', volumes: [{ name: 'scans', mount: 'x' }] });
  await t.rejects(staging.stageIn(blind, never), { message: /the driver "docker" of this node takes no files/ });

  const inContainer = await aStaging(folder, { volumes, views: CONTAINERS }).stageIn(
    stagedOrder({
      driver: 'docker',
      inputs: [{ ...content('bin/run', '#!/bin/sh'), mode: 0o700 }],
      volumes: [
        { name: 'scans', mount: '/scans' },
        { name: 'scans', mount: 'in', subpath: 'lung' },
      ],
    }),
    never,
  );
  t.match(inContainer, {
    workdir: '/workspace',
    env: { BERTH_WORKSPACE: '/workspace' },
    mounts: [
      { target: '/workspace', readOnly: false },
      { source: join(folder, 'scans'), target: '/scans', readOnly: true },
      { source: join(folder, 'scans', 'lung'), target: '/workspace/in', readOnly: true },
    ],
  });
  const work = staging.workspaceOf(inContainer.allocationId);
  const modes = execFileSync('stat', ['-c', '%a', join(work, '..'), work, join(work, 'bin'), join(work, 'bin/run')]);
  t.equal(
    modes.toString(),
    '700\n707\n757\n707\n',
    'the workspace is for every user of the container, and nobody else',
  );
});

const mountTests =
  process.getuid?.() === 0 && spawnSync('unshare', ['-m', 'true']).status === 0
    ? {}
    : { skip: process.env.CI === 'true' ? false : 'file systems cannot be mounted here' };

t.test('a container is given no read-only volume below which another file system is mounted', mountTests, async (t) => {
  const folder = temporaryFolder(t);
  const below = join(folder, 'scans', 'below');
  mkdirSync(below, { recursive: true });
  execFileSync('mount', ['-t', 'tmpfs', 'berth-test', below]);
  t.teardown(() => execFileSync('umount', [below]));
  const volumes = parseVolumes(`scans=path=${folder}/scans,writable=true`);
  if (volumes instanceof Unfit) throw new Error(volumes.message);
  const staging = aStaging(folder, { volumes, views: CONTAINERS });
  const order = (parts: object): StartOrder =>
    stagedOrder({ driver: 'docker', volumes: [{ name: 'scans', mount: 'scans', ...parts }] });
  await t.rejects(staging.stageIn(order({}), never), { message: /"scans": .*below is mounted below it/ });
  t.match(await staging.stageIn(order({ writable: true }), never), { mounts: [{}, { readOnly: false }] });
});

t.test('a volume of memory is as large as it says, and gone when it is removed', mountTests, async (t) => {
  const folder = temporaryFolder(t);
  const volumes = parseVolumes('fast=tmpfs=1MiB');
  if (volumes instanceof Unfit) throw new Error(volumes.message);
  const staging = aStaging(folder, { volumes });
  const order = stagedOrder({ volumes: [{ name: 'fast', mount: 'fast', writable: true }] });
  const { env, workdir } = await staging.stageIn(order, never);
  writeFileSync(join(workdir ?? '', 'fast', 'small'), 'x');
  t.throws(() => writeFileSync(join(env.BERTH_VOLUME_FAST ?? '', 'large'), Buffer.alloc(2 * 1024 ** 2)), {
    code: 'ENOSPC',
  });
  await staging.remove(order.allocationId);
  t.notMatch(readFileSync('/proc/self/mountinfo', 'utf8'), new RegExp(folder));
});

t.test('an isolated process is told where a volume may be mounted, and where not', async (t) => {
  const folder = temporaryFolder(t);
  mkdirSync(join(folder, 'scans', 'lung'), { recursive: true });
  const volumes = parseVolumes(`scans=${folder}/scans\nfast=tmpfs=8MiB`);
  if (volumes instanceof Unfit) throw new Error(volumes.message);
  const staging = aStaging(folder, { volumes, views: CELLS });
  const prepare = (...wanted: NonNullable<StartOrder['volumes']>) =>
    staging.stageIn(stagedOrder({ volumes: wanted }), never);
  const { allocationId, mounts, env } = await prepare(
    { name: 'scans', mount: 'in/lung', subpath: 'lung' },
    { name: 'fast', mount: '/mnt', writable: true },
  );
  const { dev, ino } = statSync(join(folder, 'scans', 'lung'));
  const scans = { kind: 'folder', source: join(folder, 'scans', 'lung'), identity: `${dev}:${ino}`, readOnly: true };
  t.strictSame(mounts, [
    { kind: 'folder', source: staging.workspaceOf(allocationId), target: `/tmp/${allocationId}`, readOnly: false },
    { kind: 'memory', sizeMiB: 8, target: '/mnt' },
    { ...scans, target: `/tmp/${allocationId}/in/lung` },
  ]);
  t.match(env, { BERTH_VOLUME_SCANS: `/tmp/${allocationId}/in/lung`, BERTH_VOLUME_FAST: '/mnt' });
  t.ok(
    existsSync(join(staging.workspaceOf(allocationId), 'in', 'lung')),
    'the mount point is made before the task runs',
  );
  for (const mount of ['/usr/bin', '/etc', '/lib/x', '/proc/x', '/dev/null', '/tmp', '/bin', '/root/x']) {
    await t.rejects(
      prepare({ name: 'scans', mount }),
      { message: /"scans": it cannot be mounted at .*node's own/ },
      mount,
    );
  }
  const memory = { name: 'fast', mount: 'x', writable: true, subpath: 'y' } as const;
  await t.rejects(prepare(memory), { message: /"fast": it is new memory, without a folder "y"/ });
});

t.test('volumes in the configuration are checked, each with a remedy', async (t) => {
  t.strictSame(parseVolumes('z=/z\na=path=/a,writable=true,mounted=true\nm=tmpfs=1GiB'), [
    { name: 'a', writable: true, place: { kind: 'folder', path: '/a', mustBeMounted: true } },
    { name: 'm', writable: true, place: { kind: 'tmpfs', sizeMiB: 1_024 } },
    { name: 'z', writable: false, place: { kind: 'folder', path: '/z', mustBeMounted: false } },
  ]);
  const wrong = {
    scans: /is not NAME=path=PATH/,
    'a=path=b': /is not absolute/,
    'a=pth=/b': /no "pth"; did you mean "path"/,
    'a=path=/b,tmpfs=1GiB': /and not both/,
    'a=tmpfs=1': /volume "a"/,
    'a=path=/b,writable=yes': /true or false/,
    'a=/b\na=/c': /given twice/,
  };
  for (const [text, message] of Object.entries(wrong)) {
    const found = parseVolumes(text);
    t.match(found instanceof Unfit ? found.message : 'taken', message, text);
  }
});

const CREDENTIALS = { accessKeyId: 'AKIDEXAMPLE', secretAccessKey: 'secret/of+the=example' };

t.test('an object of S3 is asked for with a signature that the service accepts', async (t) => {
  const { url, requests } = await objectStore(t, { '/bucket/a%20b/c%2Bd': 'object' });
  const s3 = new S3Access({ endpoint: url, region: 'eu-west-1', credentials: CREDENTIALS });
  const folder = temporaryFolder(t);
  const staging = aStaging(folder, { s3 });
  const of = (key: string): StartOrder =>
    stagedOrder({ inputs: [{ to: 'x', source: { kind: 'url', url: `s3://bucket/${key}` } }] });
  const { workdir } = await staging.stageIn(of('a b/c+d'), never);
  t.equal(readFileSync(join(workdir ?? '', 'x'), 'utf8'), 'object');
  t.same(requests, [200]);
  await t.rejects(staging.stageIn(of('absent'), never), { message: /HTTP 404; is the bucket and the key right/ });
  const strange = new S3Access({
    endpoint: url,
    region: 'eu-west-1',
    credentials: { ...CREDENTIALS, secretAccessKey: 'another' },
  });
  const elsewhere = aStaging(temporaryFolder(t), { s3: strange });
  await t.rejects(elsewhere.stageIn(of('a b/c+d'), never), {
    message: /HTTP 403.*credentials/,
  });
});

/** A stand-in that works out each request's signature for itself, as the service's documentation says. */
async function objectStore(t: Test, objects: Readonly<Record<string, string>>) {
  const requests: number[] = [];
  const server = createServer((request, response) => {
    const object = objects[request.url ?? ''];
    const status = request.headers.authorization !== authorizationFor(request) ? 403 : object === undefined ? 404 : 200;
    requests.push(status);
    response.writeHead(status).end(status === 200 ? object : '');
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  t.teardown(() => server.close());
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, requests };
}

function authorizationFor({ method, url = '', headers }: IncomingMessage): string {
  const date = String(headers['x-amz-date']);
  const scope = `${date.slice(0, 8)}/eu-west-1/s3/aws4_request`;
  const names = /SignedHeaders=([^,]+)/.exec(headers.authorization ?? '')?.[1] ?? '';
  const signed = names.split(';').map((name) => `${name}:${headers[name]}\n`);
  const canonical = [method, url, '', signed.join(''), names, headers['x-amz-content-sha256']].join('\n');
  const toSign = ['AWS4-HMAC-SHA256', date, scope, createHash('sha256').update(canonical).digest('hex')].join('\n');
  const hmac = (key: string | Buffer, text: string): Buffer => createHmac('sha256', key).update(text).digest();
  let key = hmac(`AWS4${CREDENTIALS.secretAccessKey}`, date.slice(0, 8));
  for (const part of ['eu-west-1', 's3', 'aws4_request']) key = hmac(key, part);
  const signature = hmac(key, toSign).toString('hex');
  return `AWS4-HMAC-SHA256 Credential=${CREDENTIALS.accessKeyId}/${scope}, SignedHeaders=${names}, Signature=${signature}`;
}
