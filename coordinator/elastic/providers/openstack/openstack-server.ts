import { userDataOf } from '../../bootstrap.js';
import { type CreateOrder, SettingsError } from '../../provider.js';
import {
  AGENT_SETTINGS,
  addressSetting,
  agentSourceOf,
  CREDENTIALS_SETTING,
  nameSetting,
  plainsSetting,
} from '../cloud-settings.js';
import type { Json } from '../json-cloud.js';
import { choiceSetting, type ProviderValues, textSetting } from '../provider-settings.js';
import { machineNameOf, tagsOf } from '../tags.js';
import type { Login } from './openstack-client.js';

/** What a pool says of its servers at an OpenStack cloud. */
export const OPENSTACK_SETTINGS = {
  authUrl: { parse: addressSetting, required: 'the address of Keystone, such as https://cloud.example.org:5000/v3' },
  region: { parse: nameSetting('a region') },
  interface: { parse: choiceSetting(['public', 'internal', 'admin']) },
  applicationCredential: { parse: nameSetting('the id of an application credential') },
  user: { parse: textSetting },
  userDomain: { parse: textSetting },
  project: { parse: textSetting },
  projectDomain: { parse: textSetting },
  image: { parse: textSetting, required: 'the name or id of an image' },
  flavor: { parse: textSetting, required: 'the name or id of a flavor' },
  network: { parse: nameSetting('the id of a network'), required: 'the id of a network' },
  keyName: { parse: nameSetting('the name of a key pair') },
  securityGroups: { parse: plainsSetting('the name of a security group') },
  availabilityZone: { parse: nameSetting('an availability zone') },
  suspendBy: { parse: choiceSetting(['shelve', 'suspend']) },
  ...CREDENTIALS_SETTING,
  ...AGENT_SETTINGS,
} as const;

export type OpenStackSettings = ProviderValues<typeof OPENSTACK_SETTINGS>;

const DEFAULT_DOMAIN = 'Default';

/** Throws `SettingsError`. */
export function loginOf({ applicationCredential, user, userDomain, project, projectDomain }: OpenStackSettings): Login {
  if (applicationCredential !== undefined) return { kind: 'application', id: applicationCredential };
  if (user === undefined || project === undefined) {
    const field = user === undefined ? 'user' : 'project';
    const message = 'it is missing; to say who logs in give "applicationCredential", or "user" and "project"';
    throw new SettingsError('openstack', [{ field, message }]);
  }
  const domains = { userDomain: userDomain ?? DEFAULT_DOMAIN, projectDomain: projectDomain ?? DEFAULT_DOMAIN };
  return { kind: 'password', user, project, ...domains };
}

export function serverDocument(
  settings: OpenStackSettings,
  order: CreateOrder,
  { image, flavor }: { readonly image: string; readonly flavor: string },
): Json {
  const { network, keyName, securityGroups = [], availabilityZone } = settings;
  const groups = securityGroups.map((name) => ({ name }));
  return {
    name: machineNameOf(order),
    imageRef: image,
    flavorRef: flavor,
    networks: [{ uuid: network }],
    metadata: tagsOf(order),
    user_data: Buffer.from(userDataOf(order, agentSourceOf(settings))).toString('base64'),
    ...(keyName === undefined ? {} : { key_name: keyName }),
    ...(groups.length === 0 ? {} : { security_groups: groups }),
    ...(availabilityZone === undefined ? {} : { availability_zone: availabilityZone }),
  };
}
