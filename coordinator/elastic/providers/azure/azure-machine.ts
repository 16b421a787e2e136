import { userDataOf } from '../../bootstrap.js';
import type { CreateOrder } from '../../provider.js';
import {
  AGENT_SETTINGS,
  addressSetting,
  agentSourceOf,
  CREDENTIALS_SETTING,
  flagSetting,
  nameSetting,
  plainSetting,
} from '../cloud-settings.js';
import type { Json } from '../json-cloud.js';
import { countSetting, type ProviderValues } from '../provider-settings.js';
import { tagsOf } from '../tags.js';

const SUBNET = "a subnet's id such as /subscriptions/…/virtualNetworks/NET/subnets/NAME";
const IMAGE = 'an image such as debian:debian-12:12-gen2:latest, or the id of one';

/** What a pool says of its machines at Azure. */
export const AZURE_SETTINGS = {
  subscription: { parse: nameSetting('a subscription id'), required: 'the id of a subscription' },
  resourceGroup: { parse: nameSetting('a resource group'), required: 'the name of a resource group' },
  location: { parse: nameSetting('a location'), required: 'a location such as westeurope' },
  size: { parse: nameSetting('a size'), required: 'a size such as Standard_D4s_v5' },
  image: { parse: plainSetting(IMAGE, /^([\w.-]+:){3}[\w.-]+$|^\/[\w./-]{1,500}$/), required: IMAGE },
  subnet: { parse: plainSetting(SUBNET, /^\/subscriptions\/[\w./-]{1,500}$/), required: SUBNET },
  sshKey: {
    parse: plainSetting('a public key', /^(ssh|ecdsa)-[\w-]+ [\w+/=]+( [^\n]*)?$/),
    required: 'a public key: ssh-rsa …',
  },
  adminUser: { parse: nameSetting('a user name') },
  zone: { parse: plainSetting('a zone: "1", "2" or "3"', /^[123]$/) },
  diskGiB: { parse: countSetting({ least: 1, most: 4_095 }) },
  publicAddress: { parse: flagSetting },
  endpoint: { parse: addressSetting },
  tokenEndpoint: { parse: addressSetting },
  ...CREDENTIALS_SETTING,
  ...AGENT_SETTINGS,
} as const;

export type AzureSettings = ProviderValues<typeof AZURE_SETTINGS>;

const DEFAULT_USER = 'berth';

/** The machine with all that is made for it and goes with it. */
export function machineDocument(settings: AzureSettings, name: string, order: CreateOrder): Json {
  const { location, size, image, zone, diskGiB, adminUser = DEFAULT_USER, sshKey } = settings;
  const [publisher, offer, sku, version] = image.split(':');
  const key = { path: `/home/${adminUser}/.ssh/authorized_keys`, keyData: sshKey };
  return {
    location,
    tags: tagsOf(order),
    ...(zone === undefined ? {} : { zones: [zone] }),
    properties: {
      hardwareProfile: { vmSize: size },
      storageProfile: {
        imageReference: image.startsWith('/') ? { id: image } : { publisher, offer, sku, version },
        osDisk: {
          name,
          createOption: 'FromImage',
          deleteOption: 'Delete',
          ...(diskGiB === undefined ? {} : { diskSizeGB: diskGiB }),
        },
      },
      osProfile: {
        computerName: name,
        adminUsername: adminUser,
        customData: Buffer.from(userDataOf(order, agentSourceOf(settings))).toString('base64'),
        linuxConfiguration: { disablePasswordAuthentication: true, ssh: { publicKeys: [key] } },
      },
      networkProfile: networkProfile(settings, name),
    },
  };
}

/** The interface is made with the machine and goes with it, so that no half of the two can be left behind. */
function networkProfile({ subnet, publicAddress }: AzureSettings, name: string): Json {
  const outside = { publicIPAddressConfiguration: { name, properties: { deleteOption: 'Delete' } } };
  const inside = { primary: true, subnet: { id: subnet }, ...(publicAddress ? outside : {}) };
  const properties = { primary: true, deleteOption: 'Delete', ipConfigurations: [{ name, properties: inside }] };
  return { networkApiVersion: '2022-11-01', networkInterfaceConfigurations: [{ name, properties }] };
}
