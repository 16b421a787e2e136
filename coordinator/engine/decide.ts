import type { Refusal } from '../../shared/errors.js';
import type { ClusterView } from '../model/state.js';
import { agentClosed } from '../rules/agent-closed.js';
import { agentJoined } from '../rules/agent-joined.js';
import { agentReported } from '../rules/agent-reported.js';
import { inventoryChanged } from '../rules/inventory-changed.js';
import { cancelJob, holdJob, releaseJob } from '../rules/job-control.js';
import { machineCreated, machineRefused } from '../rules/machine-orders.js';
import { machinesListed } from '../rules/machines-listed.js';
import { mirrorMoved, mirrorQueued, submitMirror } from '../rules/mirrors.js';
import { cordonNode, drainNode, openNode, removeNode } from '../rules/node-control.js';
import { agentDeparting, agentSilent, coordinatorStarted, timePassed } from '../rules/node-link.js';
import {
  cordonPool,
  definePool,
  definePools,
  disablePool,
  enablePool,
  removePool,
  scalePool,
} from '../rules/pool-control.js';
import { done, type Rule, type RuleContext } from '../rules/rule.js';
import { rehearseJob, submitJob } from '../rules/submit-job.js';
import type { Decision, Input, InputType } from './inputs.js';

/** Which rule answers which input: the whole list. */
const RULES: { readonly [Type in InputType]: Rule<Type> } = {
  submitJob,
  rehearseJob,
  holdJob,
  releaseJob,
  cancelJob,
  agentJoined,
  agentReported,
  inventoryChanged,
  agentSilent,
  agentDeparting,
  cordonNode,
  drainNode,
  openNode,
  removeNode,
  agentClosed,
  definePools,
  definePool,
  removePool,
  enablePool,
  disablePool,
  cordonPool,
  scalePool,
  machineCreated,
  machineRefused,
  machinesListed,
  submitMirror,
  mirrorQueued,
  mirrorMoved,
  coordinatorStarted,
  limitsChanged: () => done(),
  outlookChanged: () => done(),
  timePassed,
};

/** What an input makes true, or why it is refused. Pure. */
export function decide(view: ClusterView, input: Input, context: RuleContext): Decision | Refusal {
  const rule = RULES[input.type] as Rule<InputType>;
  return rule(view, input, context);
}
