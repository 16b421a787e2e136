import { userDataOf } from '../../bootstrap.js';
import type { CreateOrder } from '../../provider.js';
import {
  AGENT_SETTINGS,
  addressSetting,
  agentSourceOf,
  CREDENTIALS_SETTING,
  flagSetting,
  plainSetting,
  plainsSetting,
} from '../cloud-settings.js';
import { countSetting, type ProviderValues } from '../provider-settings.js';
import { machineNameOf, type Tags, tagsOf, tokenOf } from '../tags.js';
import type { Parameters } from './ec2-query.js';

/** What a pool says of its machines at EC2. */
export const EC2_SETTINGS = {
  region: { parse: plainSetting('a region', /^[a-z0-9-]{1,64}$/), required: 'a region such as eu-west-1' },
  image: { parse: plainSetting('an image'), required: 'an image such as ami-0abc…' },
  instanceType: { parse: plainSetting('an instance type'), required: 'an instance type such as m7i.large' },
  subnet: { parse: plainSetting('a subnet such as subnet-0abc…') },
  securityGroups: { parse: plainsSetting('a security group such as sg-0abc…') },
  keyName: { parse: plainSetting('the name of a key pair') },
  instanceProfile: { parse: plainSetting('the name of an instance profile') },
  diskGiB: { parse: countSetting({ least: 1, most: 16_384 }) },
  rootDevice: { parse: plainSetting("the name of the image's root device, such as /dev/sda1") },
  hibernate: { parse: flagSetting },
  endpoint: { parse: addressSetting },
  ...CREDENTIALS_SETTING,
  ...AGENT_SETTINGS,
} as const;

export type Ec2Settings = ProviderValues<typeof EC2_SETTINGS>;

const DEFAULT_ROOT = '/dev/xvda';
/** The same order has the same token, and makes the same machine. */
export function orderParameters(settings: Ec2Settings, order: CreateOrder): Parameters {
  const userData = userDataOf(order, agentSourceOf(settings));
  return {
    ...machineParameters(settings),
    ...tagParameters({ ...tagsOf(order), Name: machineNameOf(order) }),
    ClientToken: tokenOf(order.cluster, order.instanceId),
    UserData: Buffer.from(userData).toString('base64'),
  };
}

export function machineParameters(settings: Ec2Settings): Parameters {
  const { image, instanceType, subnet, keyName, instanceProfile, hibernate, diskGiB } = settings;
  const groups = (settings.securityGroups ?? []).map((group, at) => [`SecurityGroupId.${at + 1}`, group] as const);
  return {
    ImageId: image,
    InstanceType: instanceType,
    MinCount: '1',
    MaxCount: '1',
    SubnetId: subnet,
    KeyName: keyName,
    'IamInstanceProfile.Name': instanceProfile,
    'HibernationOptions.Configured': hibernate ? 'true' : undefined,
    // Tasks of others on the machine do not get at its profile through a service that can be tricked.
    'MetadataOptions.HttpTokens': 'required',
    ...(diskGiB === undefined ? {} : diskParameters(settings, diskGiB)),
    ...Object.fromEntries(groups),
  };
}

function diskParameters({ rootDevice, hibernate }: Ec2Settings, diskGiB: number): Parameters {
  const disk = 'BlockDeviceMapping.1';
  return {
    [`${disk}.DeviceName`]: rootDevice ?? DEFAULT_ROOT,
    [`${disk}.Ebs.VolumeSize`]: String(diskGiB),
    [`${disk}.Ebs.VolumeType`]: 'gp3',
    [`${disk}.Ebs.DeleteOnTermination`]: 'true',
    // Memory is only ever written to an encrypted volume.
    [`${disk}.Ebs.Encrypted`]: hibernate ? 'true' : undefined,
  };
}

function tagParameters(tags: Tags): Parameters {
  const kinds = ['instance', 'volume'].flatMap((kind, at) => {
    const specification = `TagSpecification.${at + 1}`;
    const pairs = Object.entries(tags).flatMap(([key, value], position) => [
      [`${specification}.Tag.${position + 1}.Key`, key],
      [`${specification}.Tag.${position + 1}.Value`, value],
    ]);
    return [[`${specification}.ResourceType`, kind], ...pairs];
  });
  return Object.fromEntries(kinds);
}
