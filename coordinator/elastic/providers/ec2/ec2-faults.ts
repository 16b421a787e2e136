import type { FaultTable } from '../faults.js';

const KEYS = 'check the keys, and that this machine has the right time';
const PERMIT = 'let its user or role do this (see the list of permissions)';
const LATER = { fault: 'unavailable' } as const;

/** Error codes of the EC2 Query API, as its reference lists them. */
export const EC2_FAULTS: FaultTable = {
  InstanceLimitExceeded: { fault: 'quota' },
  VcpuLimitExceeded: { fault: 'quota' },
  MaxSpotInstanceCountExceeded: { fault: 'quota' },
  VolumeLimitExceeded: { fault: 'quota' },
  NetworkInterfaceLimitExceeded: { fault: 'quota' },
  PrivateIpAddressLimitExceeded: { fault: 'quota' },
  PendingVerification: { fault: 'quota' },
  InsufficientInstanceCapacity: { fault: 'capacity' },
  InsufficientHostCapacity: { fault: 'capacity' },
  InsufficientReservedInstanceCapacity: { fault: 'capacity' },
  InsufficientVolumeCapacity: { fault: 'capacity' },
  InsufficientFreeAddressesInSubnet: { fault: 'capacity', setting: 'subnet' },
  InsufficientAddressCapacity: { fault: 'capacity' },
  InsufficientCapacity: { fault: 'capacity' },

  AuthFailure: { fault: 'credentials', remedy: KEYS },
  SignatureDoesNotMatch: { fault: 'credentials', remedy: KEYS },
  InvalidClientTokenId: { fault: 'credentials', remedy: KEYS },
  MissingAuthenticationToken: { fault: 'credentials', remedy: KEYS },
  ExpiredToken: { fault: 'credentials', remedy: KEYS },
  RequestExpired: { fault: 'credentials', remedy: KEYS },
  UnauthorizedOperation: { fault: 'credentials', remedy: PERMIT },
  AccessDenied: { fault: 'credentials', remedy: PERMIT },
  OptInRequired: { fault: 'credentials', remedy: 'enable the region or subscribe to the product for this account' },
  Blocked: { fault: 'credentials', remedy: 'ask AWS Support why the account is blocked' },

  'InvalidAMIID.NotFound': { fault: 'configuration', setting: 'image', remedy: 'name an image of this region' },
  'InvalidAMIID.Malformed': { fault: 'configuration', setting: 'image', remedy: 'write ami-…' },
  'InvalidAMIID.Unavailable': { fault: 'configuration', setting: 'image', remedy: 'name another image' },
  InvalidInstanceType: { fault: 'configuration', setting: 'instanceType', remedy: 'name a type of this region' },
  'InvalidSubnetID.NotFound': { fault: 'configuration', setting: 'subnet', remedy: 'name a subnet of this region' },
  'InvalidGroup.NotFound': { fault: 'configuration', setting: 'securityGroups', remedy: 'name groups of the subnet' },
  'InvalidKeyPair.NotFound': { fault: 'configuration', setting: 'keyName', remedy: 'name a key pair of this region' },
  UnsupportedHibernationConfiguration: {
    fault: 'configuration',
    setting: 'hibernate',
    remedy: 'it wants an encrypted root volume with room for the memory, and a type and image that can hibernate',
  },
  Unsupported: { fault: 'configuration', setting: 'instanceType', remedy: 'name a type that this zone has' },

  'InvalidInstanceID.NotFound': { fault: 'not-found' },
  'InvalidInstanceID.Malformed': { fault: 'not-found' },

  RequestLimitExceeded: LATER,
  Throttling: LATER,
  IncorrectInstanceState: LATER,
  IncorrectState: LATER,
  IdempotentParameterMismatch: LATER,
  ResourceCountExceeded: LATER,
  InternalError: LATER,
  InternalFailure: LATER,
  ServiceUnavailable: LATER,
  Unavailable: LATER,
};
