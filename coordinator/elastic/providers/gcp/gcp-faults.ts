import type { CloudWords, FaultRow, FaultTable } from '../faults.js';

const LATER = { fault: 'unavailable' } as const;
const PERMIT = 'give its service account the role Compute Instance Admin (v1)';

/** Reasons of Compute Engine's refusals, and codes of operations that failed. */
const TABLE: FaultTable = {
  quotaExceeded: { fault: 'quota' },
  QUOTA_EXCEEDED: { fault: 'quota' },
  limitExceeded: { fault: 'quota' },
  ZONE_RESOURCE_POOL_EXHAUSTED: { fault: 'capacity', setting: 'zone' },
  ZONE_RESOURCE_POOL_EXHAUSTED_WITH_DETAILS: { fault: 'capacity', setting: 'zone' },
  RESOURCE_POOL_EXHAUSTED: { fault: 'capacity', setting: 'zone' },
  IP_SPACE_EXHAUSTED: { fault: 'capacity', setting: 'subnet' },
  IP_SPACE_EXHAUSTED_WITH_DETAILS: { fault: 'capacity', setting: 'subnet' },
  resourcesUnavailable: { fault: 'capacity' },
  STOCKOUT: { fault: 'capacity', setting: 'zone' },

  authError: { fault: 'credentials' },
  required: { fault: 'credentials' },
  forbidden: { fault: 'credentials', remedy: PERMIT },
  insufficientPermissions: { fault: 'credentials', remedy: PERMIT },
  PERMISSIONS_ERROR: { fault: 'credentials', remedy: PERMIT },
  accessNotConfigured: { fault: 'credentials', setting: 'project', remedy: 'enable the Compute Engine API for it' },
  SERVICE_DISABLED: { fault: 'credentials', setting: 'project', remedy: 'enable the Compute Engine API for it' },
  billingNotEnabled: { fault: 'credentials', setting: 'project', remedy: 'connect it to a billing account' },

  invalid: { fault: 'configuration' },
  invalidParameter: { fault: 'configuration' },
  badRequest: { fault: 'configuration' },
  INVALID_USAGE: { fault: 'configuration' },
  UNSUPPORTED_OPERATION: { fault: 'configuration' },

  notFound: { fault: 'not-found' },
  RESOURCE_NOT_FOUND: { fault: 'not-found' },

  rateLimitExceeded: LATER,
  userRateLimitExceeded: LATER,
  resourceNotReady: LATER,
  RESOURCE_NOT_READY: LATER,
  RESOURCE_IN_USE_BY_ANOTHER_RESOURCE: LATER,
  resourceInUseByAnotherResource: LATER,
  backendError: LATER,
  internalError: LATER,
  INTERNAL_ERROR: LATER,
};

export function gcpRowOf({ code }: CloudWords): FaultRow | undefined {
  return TABLE[code];
}
