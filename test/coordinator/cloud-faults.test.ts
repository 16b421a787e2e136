import t from 'tap';
import { userDataOf } from '../../coordinator/elastic/bootstrap.js';
import type { InstanceProvider, ProviderFault } from '../../coordinator/elastic/provider.js';
import type { InstanceId } from '../../shared/ids.js';
import { azureRefusal } from '../fakes/azure-stand-in.js';
import { type CloudReply, type CloudRequest, CloudStandIn, json } from '../fakes/cloud-stand-in.js';
import { EC2_KEYS, refusal as ec2Refusal } from '../fakes/ec2-stand-in.js';
import { gcpRefusal } from '../fakes/gcp-stand-in.js';
import { imRefusal } from '../fakes/im-stand-in.js';
import { novaRefusal, OPENSTACK } from '../fakes/openstack-stand-in.js';
import { CLOUD_BENCHES, type CloudName, ORDER, rejects } from '../kit/cloud-benches.js';
import { until } from '../kit/until.js';

const signal = new AbortController().signal;

/** What the cloud says to the order that makes a machine, and what that means. */
type Refusals = readonly (readonly [CloudReply, ProviderFault, RegExp])[];

const CREATION = {
  ec2: 'RunInstances',
  azure: 'PUT machine',
  gcp: 'POST instances',
  openstack: 'POST servers',
  im: 'POST infrastructure',
} as const;

const REFUSALS: Readonly<Record<CloudName, Refusals>> = {
  ec2: [
    [ec2Refusal('InstanceLimitExceeded', 'You have requested more instances than allowed.'), 'quota', /more instances/],
    [ec2Refusal('VcpuLimitExceeded', 'You have requested more vCPU capacity.'), 'quota', /VcpuLimitExceeded/],
    [ec2Refusal('InsufficientInstanceCapacity', 'No capacity.', 500), 'capacity', /No capacity/],
    [ec2Refusal('UnauthorizedOperation', 'You are not authorized.', 403), 'credentials', /let its user or role/],
    [
      ec2Refusal('InvalidAMIID.NotFound', 'It does not exist.'),
      'configuration',
      /image "ami-0123456789abcdef0": .*name an image/,
    ],
    [ec2Refusal('InvalidSubnetID.NotFound', 'It does not exist.'), 'configuration', /subnet: It does not exist/],
    [
      ec2Refusal('Unsupported', 'Your requested instance type is not supported.'),
      'configuration',
      /instanceType "m7i.large"/,
    ],
    [ec2Refusal('InternalError', 'An internal error has occurred.', 500), 'unavailable', /InternalError/],
    [{ status: 502, body: '<html><body>Bad Gateway' }, 'unavailable', /HTTP 502/],
    [{ status: 200, body: '' }, 'unavailable', /EC2 endpoint/],
  ],
  azure: [
    [
      azureRefusal(409, 'OperationNotAllowed', 'It would exceed the approved Total Regional Cores quota.'),
      'quota',
      /Cores quota/,
    ],
    [azureRefusal(409, 'OperationNotAllowed', 'The machine is being changed.'), 'unavailable', /being changed/],
    [azureRefusal(409, 'QuotaExceeded', 'Too many.'), 'quota', /Too many/],
    [azureRefusal(409, 'SkuNotAvailable', 'Not in this location.'), 'capacity', /size "Standard_D4s_v5"/],
    [azureRefusal(409, 'ZonalAllocationFailed', 'The zone is full.'), 'capacity', /zone is full/],
    [
      azureRefusal(403, 'AuthorizationFailed', 'The client does not have authorization.'),
      'credentials',
      /Virtual Machine Contributor/,
    ],
    [azureRefusal(404, 'PlatformImageNotFound', 'No such image.'), 'configuration', /image "debian:debian-12/],
    [
      azureRefusal(400, 'InvalidParameter', 'The value of parameter vmSize is invalid.'),
      'configuration',
      /size "Standard_D4s_v5"/,
    ],
    [azureRefusal(404, 'ResourceGroupNotFound', 'No such group.'), 'configuration', /resourceGroup "berth"/],
    [azureRefusal(503, 'InternalServerError', 'Later.'), 'unavailable', /Later/],
    [{ status: 200, body: 'not JSON' }, 'unavailable', /no JSON/],
  ],
  gcp: [
    [gcpRefusal(403, 'quotaExceeded', "Quota 'CPUS' exceeded. Limit: 24.0"), 'quota', /CPUS/],
    [gcpRefusal(403, 'rateLimitExceeded', 'Rate Limit Exceeded'), 'unavailable', /Rate Limit/],
    [
      gcpRefusal(403, 'forbidden', 'Required permission compute.instances.create'),
      'credentials',
      /Compute Instance Admin/,
    ],
    [gcpRefusal(403, 'accessNotConfigured', 'The API is not enabled'), 'credentials', /project "hospital"/],
    [gcpRefusal(400, 'invalid', "Invalid value for field 'resource.disks[0]'"), 'configuration', /disks/],
    [gcpRefusal(404, 'notFound', "The resource 'image' was not found"), 'configuration', /was not found/],
    [gcpRefusal(503, 'backendError', 'Backend Error'), 'unavailable', /Backend/],
  ],
  openstack: [
    [
      novaRefusal(403, 'forbidden', 'Quota exceeded for cores: Requested 4, but already used 8 of 10 cores'),
      'quota',
      /cores/,
    ],
    [novaRefusal(403, 'forbidden', "Policy doesn't allow this to be performed."), 'credentials', /role member/],
    [novaRefusal(413, 'overLimit', 'This request was rate-limited.'), 'unavailable', /rate-limited/],
    [
      novaRefusal(400, 'badRequest', "Flavor's disk is too small for requested image."),
      'configuration',
      /image "debian-12"/,
    ],
    [novaRefusal(400, 'badRequest', 'Invalid key_name provided.'), 'configuration', /keyName: /],
    [novaRefusal(400, 'badRequest', 'Network 7 could not be found.'), 'configuration', /network "4444/],
    [novaRefusal(500, 'computeFault', 'Unexpected API Error.'), 'unavailable', /Unexpected/],
    [{ status: 503, body: '<html>no server' }, 'unavailable', /503/],
  ],
  im: [
    [imRefusal(400, 'Some deploys did not proceed successfully: Quota exceeded for cores'), 'quota', /cores/],
    [imRefusal(400, 'Some deploys did not proceed successfully: No valid host was found'), 'capacity', /No valid host/],
    [
      imRefusal(400, 'Error Adding resources: Incorrect credentials for the cloud'),
      'credentials',
      /lines of the authorization/,
    ],
    [imRefusal(400, 'No compatible image'), 'configuration', /image "ost:\/\/cloud.example.org\/debian"/],
    [imRefusal(400, 'Error parsing RADL at line 3'), 'configuration', /RADL/],
    [imRefusal(400, 'Something else'), 'unavailable', /Something else/],
    [{ status: 504, body: '<html>Gateway Time-out' }, 'unavailable', /504/],
  ],
};

for (const [name, refusals] of Object.entries(REFUSALS) as [CloudName, Refusals][]) {
  t.test(`${name}: each refusal is told as what it means, and no machine is left`, async (t) => {
    const bench = await CLOUD_BENCHES[name](t);
    for (const [reply, fault, message] of refusals) {
      bench.cloud.mishap(CREATION[name], { kind: 'refused', reply });
      await rejects(t, bench.open().create(ORDER, signal), { fault, message });
      if (name !== 'im' || fault !== 'unavailable') t.equal(await bench.count(), 0, `after ${message}`);
    }
    const { ref } = await bench.open().create(ORDER, signal);
    t.match(await bench.open().list(ORDER.cluster, signal), [{ ref }], 'afterwards one is made');
    t.equal(await bench.count(), 1);
  });

  t.test(`${name}: an order that nobody answers is given up, and asked again makes one machine`, async (t) => {
    const bench = await CLOUD_BENCHES[name](t);
    bench.cloud.mishap(CREATION[name], { kind: 'hangs' });
    const givenUp = new AbortController();
    const order = bench.open().create(ORDER, givenUp.signal);
    order.catch(() => {});
    await until('the order has come', () => bench.cloud.operations.includes(CREATION[name]));
    givenUp.abort();
    await rejects(t, order, { fault: 'unavailable', message: /no answer/ });
    await bench.open().create(ORDER, signal);
    t.equal(await bench.count(), 1);
  });

  t.test(`${name}: a throttled order is given again when the cloud wants it`, async (t) => {
    const bench = await CLOUD_BENCHES[name](t);
    const reply = { status: 429, headers: { 'retry-after': '0' }, body: '' };
    bench.cloud.mishap(CREATION[name], { kind: 'refused', reply }, { kind: 'refused', reply });
    await bench.open().create(ORDER, signal);
    t.equal(bench.cloud.operations.filter((operation) => operation === CREATION[name]).length, 3);
    const many = Array.from({ length: 3 }, () => ({ kind: 'refused', reply }) as const);
    bench.cloud.mishap(CREATION[name], ...many);
    const next = { ...ORDER, instanceId: 'i2' as InstanceId };
    await rejects(t, bench.open().create(next, signal), { fault: 'unavailable', message: /429/ });
  });
}

t.test(
  'what shows only while an order is carried out is told too, and what half a machine left is removed',
  async (t) => {
    const azure = await CLOUD_BENCHES.azure(t);
    azure.cloud.lateFailure = { code: 'AllocationFailed', message: 'We do not have sufficient capacity.' };
    await rejects(t, azure.open().create(ORDER, signal), { fault: 'capacity', message: /sufficient/ });
    await until('the machine that failed is removed', async () => {
      await azure.open().list(ORDER.cluster, signal);
      return (await azure.count()) === 0;
    });
    const gcp = await CLOUD_BENCHES.gcp(t);
    gcp.cloud.lateFailure = {
      code: 'ZONE_RESOURCE_POOL_EXHAUSTED',
      message: 'The zone does not have enough resources.',
    };
    await rejects(t, gcp.open().create(ORDER, signal), { fault: 'capacity', message: /zone "europe-west1-b"/ });
    t.equal(await gcp.count(), 0);
    const openstack = await CLOUD_BENCHES.openstack(t);
    openstack.cloud.isFull = true;
    await rejects(t, openstack.open().create(ORDER, signal), { fault: 'capacity', message: /No valid host/ });
    t.strictSame(await openstack.open().list(ORDER.cluster, signal).then(notEnding), []);
  },
);

t.test('a suspended machine for which there is no room stays suspended, and that is told', async (t) => {
  const azure = await CLOUD_BENCHES.azure(t);
  const gcp = await CLOUD_BENCHES.gcp(t);
  const openstack = await CLOUD_BENCHES.openstack(t);
  const ec2 = await CLOUD_BENCHES.ec2(t);
  const full = { kind: 'refused', reply: ec2Refusal('InsufficientInstanceCapacity', 'Full.', 500) } as const;
  const fills = [
    [azure, () => Object.assign(azure.cloud, { lateFailure: { code: 'ZonalAllocationFailed', message: 'Full.' } })],
    [gcp, () => Object.assign(gcp.cloud, { lateFailure: { code: 'ZONE_RESOURCE_POOL_EXHAUSTED', message: 'Full.' } })],
    [openstack, () => Object.assign(openstack.cloud, { isFull: true })],
    [ec2, () => ec2.cloud.mishap('StartInstances', full)],
  ] as const;
  for (const [bench, fill] of fills) {
    const { ref } = await bench.open().create(ORDER, signal);
    await untilState(bench.open(), ref, 'running');
    await bench.open().suspend(ref, signal);
    await untilState(bench.open(), ref, 'suspended');
    fill();
    await rejects(t, bench.open().resume(ref, signal), { fault: 'capacity', message: /./ });
    await untilState(bench.open(), ref, 'suspended');
    await bench.open().resume(ref, signal);
    await untilState(bench.open(), ref, 'running');
  }
});

t.test('a list of many pages is read whole', async (t) => {
  const clouds = [
    await CLOUD_BENCHES.ec2(t),
    await CLOUD_BENCHES.azure(t),
    await CLOUD_BENCHES.gcp(t),
    await CLOUD_BENCHES.openstack(t),
  ];
  for (const bench of clouds) {
    const ids = ['i1', 'i2', 'i3'] as InstanceId[];
    for (const instanceId of ids) await bench.open().create({ ...ORDER, instanceId }, signal);
    bench.cloud.pageSize = 1;
    const listed = await bench.open().list(ORDER.cluster, signal);
    t.strictSame(
      listed.map(({ instanceId }) => instanceId),
      ids,
    );
  }
});

t.test('machines get the user data by which they join, wherever their cloud has it', async (t) => {
  const fromBase64 = (text: unknown): string => Buffer.from(String(text), 'base64').toString();
  const places: Readonly<Record<CloudName, (request: CloudRequest) => string>> = {
    ec2: ({ body }) => fromBase64(new URLSearchParams(body).get('UserData')),
    azure: ({ body }) => fromBase64(JSON.parse(body).properties.osProfile.customData),
    gcp: ({ body }) => JSON.parse(body).metadata.items.find(({ key }: { key: string }) => key === 'user-data').value,
    openstack: ({ body }) => fromBase64(JSON.parse(body).server.user_data),
    im: ({ body }) => /@begin\n([\s\S]*)@end/.exec(body)?.[1]?.replaceAll('\\u0040', '@') ?? '',
  };
  for (const [name, place] of Object.entries(places) as [CloudName, (request: CloudRequest) => string][]) {
    const { cloud, open } = await CLOUD_BENCHES[name](t);
    await open().create(ORDER, signal);
    const request = cloud.requests[cloud.operations.indexOf(CREATION[name])];
    t.equal(request && place(request), userDataOf(ORDER, { package: null, setup: [] }), name);
  }
});

t.test('ec2 hibernates what was made so that it can, and stops the rest', async (t) => {
  const bench = await CLOUD_BENCHES.ec2(t);
  const hibernating = bench.provider({ settings: { hibernate: true, diskGiB: 40 } });
  t.strictSame(
    [hibernating, bench.open()].map(({ traits }) => traits.suspendKeepsMemory),
    [true, false],
  );
  const able = await hibernating.create(ORDER, signal);
  const plain = await bench.open().create({ ...ORDER, instanceId: 'i2' as InstanceId }, signal);
  for (const { ref } of [able, plain]) {
    await untilState(bench.open(), ref, 'running');
    await hibernating.suspend(ref, signal);
  }
  t.strictSame(
    bench.cloud.instances.map(({ hibernated }) => hibernated),
    [true, false],
  );
});

t.test('ec2 takes the keys of the environment, or of the profile of its own machine', async (t) => {
  const bench = await CLOUD_BENCHES.ec2(t);
  const keys = { AWS_ACCESS_KEY_ID: EC2_KEYS.id, AWS_SECRET_ACCESS_KEY: EC2_KEYS.secret };
  await bench.provider({ settings: { credentials: undefined }, environment: keys }).check(signal);
  const metadata = await new MetadataStandIn().start();
  t.teardown(() => metadata.close());
  const environment = { AWS_EC2_METADATA_SERVICE_ENDPOINT: metadata.url };
  const provider = bench.provider({ settings: { credentials: undefined }, environment });
  await provider.check(signal);
  t.equal(bench.cloud.requests.at(-1)?.headers['x-amz-security-token'], 'session');
  t.strictSame(metadata.operations, ['PUT', 'GET', 'GET'], 'asked once, kept while they are good');
});

class MetadataStandIn extends CloudStandIn {
  override operationOf({ method }: CloudRequest): string {
    return method;
  }

  override answer({ method, path, headers }: CloudRequest): CloudReply {
    if (method === 'PUT') return { status: 200, body: 'the-session' };
    if (headers['x-aws-ec2-metadata-token'] !== 'the-session') return { status: 401 };
    if (path.endsWith('/')) return { status: 200, body: 'berth-role' };
    const Expiration = new Date(Date.now() + 3_600_000).toISOString();
    return json(200, { AccessKeyId: EC2_KEYS.id, SecretAccessKey: EC2_KEYS.secret, Token: 'session', Expiration });
  }
}

t.test('a token that is withdrawn before its time is asked for anew', async (t) => {
  const { open, cloud } = await CLOUD_BENCHES.azure(t);
  const provider = open();
  await provider.check(signal);
  cloud.withdrawTokens();
  t.strictSame(await provider.list(ORDER.cluster, signal), []);
  t.equal(cloud.operations.filter((operation) => operation === 'token').length, 2);
});

t.test('openstack logs in with an application credential, and shelves or suspends as it is told', async (t) => {
  const bench = await CLOUD_BENCHES.openstack(t);
  const login = { applicationCredential: OPENSTACK.applicationCredential, user: undefined, project: undefined };
  const provider = bench.provider({ settings: { ...login, suspendBy: 'suspend' } });
  const { ref } = await provider.create(ORDER, signal);
  await untilState(provider, ref, 'running');
  await provider.suspend(ref, signal);
  t.ok(bench.cloud.operations.includes('suspend'));
  t.strictSame(
    [provider, bench.open()].map(({ traits }) => traits.suspendKeepsMemory),
    [true, false],
  );
});

async function untilState(provider: InstanceProvider, ref: string, state: string): Promise<void> {
  await until(`${ref} is ${state}`, async () =>
    (await provider.list(ORDER.cluster, signal)).some((each) => each.ref === ref && each.state === state),
  );
}

function notEnding(machines: readonly { readonly state: string }[]): readonly unknown[] {
  return machines.filter(({ state }) => state !== 'terminating');
}
