import type { CloudWords, FaultRow, FaultTable } from '../faults.js';

const LATER = { fault: 'unavailable' } as const;
const PERMIT =
  'give its service principal the role Virtual Machine Contributor on the group and Network Contributor on the subnet';

/** Error codes of Azure Resource Manager and its compute service. */
const TABLE: FaultTable = {
  QuotaExceeded: { fault: 'quota' },
  ResourceQuotaExceeded: { fault: 'quota' },
  PublicIPCountLimitReached: { fault: 'quota' },
  SkuNotAvailable: { fault: 'capacity', setting: 'size' },
  AllocationFailed: { fault: 'capacity' },
  ZonalAllocationFailed: { fault: 'capacity', setting: 'zone' },
  OverconstrainedAllocationRequest: { fault: 'capacity', setting: 'size' },
  OverconstrainedZonalAllocationRequest: { fault: 'capacity', setting: 'zone' },
  SubnetIsFull: { fault: 'capacity', setting: 'subnet' },

  AuthorizationFailed: { fault: 'credentials', remedy: PERMIT },
  LinkedAuthorizationFailed: { fault: 'credentials', remedy: PERMIT },
  InvalidAuthenticationToken: { fault: 'credentials' },
  InvalidAuthenticationTokenTenant: { fault: 'credentials', remedy: 'the subscription belongs to another tenant' },
  ExpiredAuthenticationToken: { fault: 'credentials' },
  ReadOnlyDisabledSubscription: { fault: 'credentials', setting: 'subscription', remedy: 'its bill may be open' },

  SubscriptionNotFound: { fault: 'configuration', setting: 'subscription', remedy: 'az account list names them' },
  InvalidSubscriptionId: { fault: 'configuration', setting: 'subscription', remedy: 'az account list names them' },
  ResourceGroupNotFound: { fault: 'configuration', setting: 'resourceGroup', remedy: 'create it, or name another' },
  LocationNotAvailableForResourceType: {
    fault: 'configuration',
    setting: 'location',
    remedy: 'az account list-locations names them',
  },
  NoRegisteredProviderFound: {
    fault: 'configuration',
    setting: 'location',
    remedy: 'az account list-locations names them',
  },
  ImageNotFound: { fault: 'configuration', setting: 'image', remedy: 'az vm image list names them' },
  PlatformImageNotFound: { fault: 'configuration', setting: 'image', remedy: 'az vm image list --all names them' },
  VMMarketplaceInvalidInput: {
    fault: 'configuration',
    setting: 'image',
    remedy: 'accept its terms: az vm image terms accept',
  },
  InvalidImageReference: { fault: 'configuration', setting: 'image', remedy: 'write PUBLISHER:OFFER:SKU:VERSION' },
  InvalidResourceReference: {
    fault: 'configuration',
    setting: 'subnet',
    remedy: 'write the id of a subnet of the same location',
  },
  InvalidVMSize: { fault: 'configuration', setting: 'size', remedy: 'az vm list-sizes names them' },

  Conflict: LATER,
  AnotherOperationInProgress: LATER,
  OperationPreempted: LATER,
  RetryableError: LATER,
  TooManyRequests: LATER,
  SubscriptionRequestsThrottled: LATER,
  InternalServerError: LATER,
  InternalExecutionError: LATER,
  ServerTimeout: LATER,
};

export function azureRowOf({ code, message }: CloudWords): FaultRow | undefined {
  // One code for exceeded quotas and for orders that do not suit the machine's state: only the words tell.
  if (code === 'OperationNotAllowed') return /quota/i.test(message) ? { fault: 'quota' } : LATER;
  if (code === 'InvalidParameter' && /vmSize/i.test(message)) return TABLE.InvalidVMSize;
  return TABLE[code];
}
