import { execFileSync, spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { parse } from 'yaml';
import { readAgentConfig } from '../../agent/config/config.js';
import { userDataOf } from '../../coordinator/elastic/bootstrap.js';
import type { InstanceProvider, ProviderFault } from '../../coordinator/elastic/provider.js';
import { loadProvider } from '../../coordinator/elastic/provider-kinds.js';
import { AZURE_SETTINGS } from '../../coordinator/elastic/providers/azure/azure-machine.js';
import { EC2_SETTINGS } from '../../coordinator/elastic/providers/ec2/ec2-machine.js';
import { GCP_SETTINGS } from '../../coordinator/elastic/providers/gcp/gcp-provider.js';
import { IM_SETTINGS } from '../../coordinator/elastic/providers/im/im-provider.js';
import { OPENSTACK_SETTINGS } from '../../coordinator/elastic/providers/openstack/openstack-server.js';
import { systemClock } from '../../shared/clock.js';
import { isRefusal } from '../../shared/errors.js';
import { parsePoolsText } from '../../shared/pool-spec/text.js';
import { EC2_KEYS } from '../fakes/ec2-stand-in.js';
import { type Changes, CLOUD_BENCHES, type CloudName, ORDER, rejects } from '../kit/cloud-benches.js';
import { temporaryFolder } from '../kit/temporary-folder.js';

const signal = new AbortController().signal;

/** Settings or secrets that are wrong, and what is said about them. */
type BadInput = readonly (readonly [Changes, ProviderFault, RegExp])[];

const OTHER_KEY = { AWS_ACCESS_KEY_ID: EC2_KEYS.id, AWS_SECRET_ACCESS_KEY: 'wrong' };
const BAD_INPUT: Readonly<Record<CloudName, BadInput>> = {
  ec2: [
    [{ settings: { region: undefined } }, 'configuration', /region: it is missing; write a region such as eu-west-1/],
    [{ settings: { region: 'eu-wst-1' } }, 'configuration', /region "eu-wst-1": .*did you mean "eu-west-1"/],
    [{ settings: { image: 'ami-7' } }, 'configuration', /image "ami-7": .*name an image of this region/],
    [{ settings: { instanceType: 'm9.huge' } }, 'configuration', /instanceType "m9.huge": .*name a type/],
    [{ settings: { imge: 'x' } }, 'configuration', /imge: unknown setting; did you mean "image"/],
    [{ settings: { diskGiB: 'much' } }, 'configuration', /diskGiB: "much" is not a whole number from 1/],
    [
      { settings: { agentPackage: { url: 'ftp://x' } } },
      'configuration',
      /agentPackage: url: "ftp:\/\/x" is not an address/,
    ],
    [
      { settings: { agentPackage: { url: 'https://x', sha256: 'ab' } } },
      'configuration',
      /sha256: "ab" is not what sha256sum prints/,
    ],
    [{ secrets: {} }, 'credentials', /credentials "key": there is no such secret; store it: berth secrets set key/],
    [{ secrets: { key: 'hush' } }, 'credentials', /credentials "key": it has to have the lines aws_access_key_id/],
    [
      { settings: { credentials: undefined }, environment: OTHER_KEY },
      'credentials',
      /validate the provided .*check the keys/,
    ],
  ],
  azure: [
    [{ settings: { subscription: 'none' } }, 'configuration', /subscription "none": .*az account list/],
    [{ settings: { resourceGroup: 'none' } }, 'configuration', /resourceGroup "none": .*create it/],
    [{ settings: { location: 'westeurop' } }, 'configuration', /location "westeurop": .*did you mean "westeurope"/],
    [
      { settings: { image: 'debian:debian-1:x:latest' } },
      'configuration',
      /image "debian:debian-1:x:latest": there is no/,
    ],
    [{ settings: { image: 'debian-12' } }, 'configuration', /image: "debian-12" is not an image such as/],
    [{ settings: { size: 'Huge' } }, 'configuration', /size "Huge": .*az vm list-sizes --location westeurope/],
    [{ settings: { subnet: '/subscriptions/x' } }, 'configuration', /subnet "\/subscriptions\/x": /],
    [{ secrets: { key: '{"tenant":"hush"}' } }, 'credentials', /credentials "key": it has to be the JSON/],
    [{ settings: { credentials: undefined } }, 'credentials', /name a secret in "credentials", or set AZURE_TENANT_ID/],
    [
      { secrets: { key: '{"tenant":"t","appId":"a","password":"hush"}' } },
      'credentials',
      /AADSTS7000215.*check tenant, appId/,
    ],
  ],
  gcp: [
    [{ settings: { zone: 'europe-west1-x' } }, 'configuration', /zone "europe-west1-x": .*did you mean "europe-west1-/],
    [{ settings: { project: 'none' } }, 'configuration', /project "none": there is no such project/],
    [{ settings: { machineType: 'n9' } }, 'configuration', /machineType "n9": there is no such machineType; gcloud/],
    [
      { settings: { image: 'projects/x/global/images/y' } },
      'configuration',
      /image "projects\/x\/global\/images\/y": /,
    ],
    [
      { secrets: { key: '{"client_email":"hush"}' } },
      'credentials',
      /credentials "key": it has to be the JSON of a key/,
    ],
    [{ secrets: { key: '{"client_email":"a","private_key":"hush"}' } }, 'credentials', /private_key cannot be used/],
    [{ settings: { credentials: undefined } }, 'credentials', /set GOOGLE_APPLICATION_CREDENTIALS/],
    [
      { settings: { credentials: undefined }, environment: { GOOGLE_APPLICATION_CREDENTIALS: '/none' } },
      'credentials',
      /ENOENT/,
    ],
  ],
  openstack: [
    [{ settings: { region: 'RegionOn' } }, 'configuration', /region "RegionOn": .*did you mean "RegionOne"/],
    [
      { settings: { region: undefined } },
      'configuration',
      /region: is missing; the catalogue has RegionOne, RegionTwo/,
    ],
    [{ settings: { image: 'none' } }, 'configuration', /image "none": there is no such image/],
    [{ settings: { flavor: 'huge' } }, 'configuration', /flavor "huge": .*there are m1.large/],
    [
      { settings: { interface: 'internal' } },
      'configuration',
      /interface "internal": the catalogue has no compute service/,
    ],
    [{ settings: { project: undefined } }, 'configuration', /give "applicationCredential", or "user" and "project"/],
    [
      { secrets: { key: 'hush' } },
      'credentials',
      /authentication.*check user "berth" of domain "Default", project "hospital"/,
    ],
    [{ settings: { credentials: undefined } }, 'credentials', /name a secret in "credentials", or set OS_PASSWORD/],
  ],
  im: [
    [{ settings: { image: 'debian' } }, 'configuration', /image: "debian" is not an image such as ost:/],
    [{ settings: { image: undefined } }, 'configuration', /image: it is missing; write an image such as ost:/],
    [{ secrets: { key: 'hush' } }, 'credentials', /credentials "key": it has to be an authorization file/],
    [
      { secrets: { key: 'type = InfrastructureManager; password = hush' } },
      'credentials',
      /Invalid InfManager credentials/,
    ],
  ],
};

for (const [name, cases] of Object.entries(BAD_INPUT) as [CloudName, BadInput][]) {
  t.test(
    `${name}: what is wrong with settings and credentials is named, with a remedy and without the secret`,
    async (t) => {
      const bench = await CLOUD_BENCHES[name](t);
      for (const [changes, fault, message] of cases) {
        const error = await rejects(t, checked(bench, changes), { fault, message });
        t.notMatch(String(error?.message), /hush/);
      }
      t.equal(await bench.count(), 0, 'a check changes nothing');
    },
  );
}

async function checked(
  bench: { readonly provider: (changes: Changes) => InstanceProvider },
  changes: Changes,
): Promise<void> {
  await bench.provider(changes).check(signal);
}

t.test('user data is YAML that writes the agent settings and, readable by root alone, the token', async (t) => {
  const labels = { pool: 'small', note: 'a: "b" #c' };
  const text = userDataOf({ ...ORDER, labels }, { package: null, setup: ['apt-get install -y nodejs'] });
  t.match(text, /^#cloud-config\n/);
  const { write_files: files, runcmd } = parse(text) as UserData;
  t.strictSame(
    files.map(({ path, permissions, owner }) => [path, permissions, owner]),
    [
      ['/etc/berth/agent.token', '0600', 'root:root'],
      ['/etc/berth/agent.yaml', '0644', 'root:root'],
    ],
  );
  t.equal(files[0]?.content, `${ORDER.join.token}\n`);
  const config = await readAgentConfig(['--config', settingsFile(t, files[1]?.content ?? '')], {});
  t.match(config, { url: ORDER.join.url, nodeId: ORDER.nodeId, labels, stateDir: '/var/lib/berth-agent' });
  t.match(config, { tokenFile: '/etc/berth/agent.token', caFile: null });
  t.strictSame(runcmd, [
    'apt-get install -y nodejs',
    ['systemctl', 'enable', 'berth-agent'],
    ['systemctl', 'restart', 'berth-agent'],
  ]);
  t.notMatch(JSON.stringify(runcmd), ORDER.join.token, 'the token is on no command line');
});

t.test('certificates that an agent is to trust come along, and its settings name them', async (t) => {
  const ca = '-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n';
  const data = parse(userDataOf({ ...ORDER, join: { ...ORDER.join, ca } }, { package: null, setup: [] })) as UserData;
  const contentOf = (name: string) => data.write_files.find(({ path }) => path === `/etc/berth/${name}`)?.content;
  t.equal(contentOf('ca.pem'), ca);
  const config = await readAgentConfig(['--config', settingsFile(t, contentOf('agent.yaml') ?? '')], {});
  t.equal(config.caFile, '/etc/berth/ca.pem');
});

t.test('a package is fetched, compared with its digest, and installed', async (t) => {
  const folder = temporaryFolder(t);
  const tarball = makePackage(folder);
  const server = createServer((_, response) => void response.end(readFileSync(tarball))).listen(0, '127.0.0.1');
  t.teardown(() => void server.close());
  await once(server, 'listening');
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/it's-berth.tgz`;
  const sha256 = createHash('sha256').update(readFileSync(tarball)).digest('hex');
  const install = async (digest: string): Promise<number> => {
    const data = parse(userDataOf(ORDER, { package: { url, sha256: digest }, setup: [] })) as UserData;
    const script = data.write_files.find(({ path }) => path === '/run/berth-install.sh');
    t.strictSame([script?.permissions, data.runcmd], ['0700', [['bash', '/run/berth-install.sh']]]);
    t.notMatch(script?.content, ORDER.join.token);
    writeFileSync(join(folder, 'run.sh'), script?.content ?? '');
    const child = spawn('bash', [join(folder, 'run.sh')], { env: { ...process.env, SEEN: join(folder, 'seen') } });
    const [code] = (await once(child, 'exit')) as [number];
    return code;
  };
  t.equal(await install('0'.repeat(64)), 1, 'another package than the one meant is not run');
  t.notOk(existsSync(join(folder, 'seen')));
  t.equal(await install(sha256), 0);
  t.match(readFileSync(join(folder, 'seen'), 'utf8'), /^agent --from \S+\/berth\.tgz\n$/);
});

interface UserData {
  readonly write_files: readonly {
    readonly path: string;
    readonly permissions: string;
    readonly owner: string;
    readonly content: string;
  }[];
  readonly runcmd: readonly unknown[];
}

function settingsFile(t: Test, content: string): string {
  const path = join(temporaryFolder(t), 'agent.yaml');
  writeFileSync(path, content);
  return path;
}

/** A package whose installer only says how it was called. */
function makePackage(folder: string): string {
  mkdirSync(join(folder, 'berth-1', 'scripts'), { recursive: true });
  const installer = '#!/bin/sh\necho "$*" >"$SEEN"\n';
  writeFileSync(join(folder, 'berth-1', 'scripts', 'install'), installer, { mode: 0o755 });
  execFileSync('tar', ['-czf', join(folder, 'package.tgz'), '-C', folder, 'berth-1']);
  return join(folder, 'package.tgz');
}

const SCHEMAS = {
  ec2: EC2_SETTINGS,
  azure: AZURE_SETTINGS,
  gcp: GCP_SETTINGS,
  openstack: OPENSTACK_SETTINGS,
  im: IM_SETTINGS,
};
t.test('the table of settings has every one of them, and the pools beside it are good', async (t) => {
  const readme = readFileSync('coordinator/elastic/providers/README.md', 'utf8');
  const [, table = ''] = readme.split('### Settings');
  const [every = '', ...clouds] = table.split(/^\| (?=`(?:ec2|azure|gcp|openstack|im)` \|)/m);
  for (const [name, schema] of Object.entries(SCHEMAS)) {
    const rows = `${every}${clouds.find((part) => part.startsWith(`\`${name}\``)) ?? ''}`;
    for (const setting of Object.keys(schema)) t.ok(rows.includes(`\`${setting}\``), `${name}: ${setting}`);
  }
  const [, example = ''] = readme.split('### One pool of each');
  const pools = parsePoolsText(/```yaml\n([\s\S]*?)```/.exec(example)?.[1] ?? '');
  if (isRefusal(pools)) return t.fail(pools.detail);
  const world = { stateDir: '/nowhere', secret: () => undefined, environment: {}, clock: systemClock };
  for (const { provider } of pools) {
    const factory = await loadProvider(provider.kind);
    t.ok(factory(provider.settings, world).traits.canSuspend, provider.kind);
  }
  t.strictSame(pools.map(({ provider }) => provider.kind).sort(), Object.keys(SCHEMAS).sort());
});
