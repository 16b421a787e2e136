import type { ContainerInspectInfo } from 'dockerode';
import { isSignalName, SIGNAL_EXIT_BASE, signalName } from '../../../shared/outcome.js';
import type { DriverEnd } from '../driver.js';
import { faultKind, faultText, StartFault } from './faults.js';

type State = ContainerInspectInfo['State'];

/**
 * How a container's command ended.
 *
 * Docker keeps one number. 128 + n is a signal here: whoever exits with such a status means one, and the exit code that
 * a client sees is the same.
 */
export function endOf(state: State): DriverEnd {
  const ranMs = ranMsOf(state);
  const signal = signalName(state.ExitCode - SIGNAL_EXIT_BASE);
  if (state.OOMKilled && signal === 'SIGKILL') return { kind: 'signaled', signal, ranMs, oom: true };
  if (state.ExitCode > SIGNAL_EXIT_BASE && isSignalName(signal)) return { kind: 'signaled', signal, ranMs };
  return { kind: 'exited', exitCode: state.ExitCode, ranMs };
}

/** Docker's instants have nanoseconds; the year 1 stands for never. */
export function instantOf(text: string): number | null {
  const at = Date.parse(text);
  return at > 0 ? at : null;
}

/** Whether the command was ever begun. */
export function hasStarted(state: State): boolean {
  return instantOf(state.StartedAt) !== null;
}

/** Docker's word, after a restart, for a container of which it does not know how it ended. */
const UNKNOWN_STATUS = 255;

/** The end of a container whose daemon was away meanwhile, and may have killed it when it came back. */
export function endAfterRestart(state: State, sentSignal: string | null): DriverEnd {
  const end = endOf(state);
  if (end.kind === 'exited' && end.exitCode === UNKNOWN_STATUS) {
    return { kind: 'lost', message: 'the Docker daemon was restarted, and does not know how its container ended' };
  }
  if (end.kind !== 'signaled' || end.oom || sentSignal !== null) return end;
  return { kind: 'lost', message: `the Docker daemon was restarted, and its container ended with ${end.signal}` };
}

/** Docker answers 500 here, as it does for its own troubles. */
const ORDERS_FAULT = /unable to find (user|group)/i;
const NO_GPU_RUNTIME = /could not select device driver|nvidia-container|no such device|unresolvable CDI/i;

/** What a refused start means: a missing program is the order's fault; all else, GPUs above all, is the node's. */
export function endOfRefusal(error: unknown): DriverEnd {
  const message = faultText(error);
  if (NO_GPU_RUNTIME.test(message)) {
    return { kind: 'rejected', message: `this node's Docker has no GPU runtime: ${message}` };
  }
  if (faultKind(error) === 'down') return { kind: 'rejected', message: `Docker does not answer: ${message}` };
  const isRefused = faultKind(error) === 'refused' || ORDERS_FAULT.test(message);
  const whose = error instanceof StartFault ? error.whose : isRefused ? 'order' : 'node';
  return { kind: whose === 'order' ? 'start-failed' : 'rejected', message };
}

function ranMsOf({ StartedAt, FinishedAt }: State): number {
  const startedAt = instantOf(StartedAt);
  const finishedAt = instantOf(FinishedAt);
  return startedAt === null || finishedAt === null ? 0 : Math.max(0, finishedAt - startedAt);
}
