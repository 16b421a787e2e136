import type { EpochMs } from '../../shared/clock.js';
import type { MachineState } from '../../shared/figure/cluster-figure.js';
import type { InstanceId, JobId, NodeId } from '../../shared/ids.js';
import { parseAllocationId } from '../../shared/ids.js';
import type { BerthEvent, LoggedEvent } from '../model/events.js';
import type { History, JobHistory, MachineSpan, PowerOrder } from './measure.js';
import type { Arrival } from './scenario.js';

interface OpenMachine {
  readonly id: InstanceId;
  readonly pool: string;
  readonly nodeId: NodeId;
  phase: 'booting' | 'on' | 'switching off' | 'suspended' | 'resuming';
  liveCount: number;
  since: EpochMs;
}

type Mutable<Record> = { -readonly [Key in keyof Record]: Record[Key] };

/** Writes down, from the engine's own events, what the measures need. Times are from the beginning of the scenario. */
export class Recorder {
  readonly #beginsAt: EpochMs;
  readonly #jobs = new Map<JobId, Mutable<JobHistory>>();
  readonly #refused: JobHistory[] = [];
  readonly #machines = new Map<InstanceId, OpenMachine>();
  readonly #byNode = new Map<NodeId, OpenMachine>();
  readonly #spans: MachineSpan[] = [];
  readonly #orders: PowerOrder[] = [];
  finishedCount = 0;

  constructor(beginsAt: EpochMs) {
    this.#beginsAt = beginsAt;
  }

  submitted(jobId: JobId, { id, type, submitMs }: Arrival): void {
    this.#jobs.set(jobId, { id, type, submitMs, startMs: null, endMs: null });
  }

  /** It will never run. */
  refused(jobId: JobId, refusal: string): void {
    const job = this.#jobs.get(jobId);
    if (job) this.#refused.push({ ...job, refusal });
    // The next one that is taken on has its number.
    this.#jobs.delete(jobId);
    this.finishedCount += 1;
  }

  note({ event, at }: LoggedEvent): void {
    this.#noteJob(event, at - this.#beginsAt);
    this.#noteMachine(event, at);
  }

  /** All that has happened until now. */
  history(now: EpochMs): History {
    for (const machine of this.#machines.values()) this.#close(machine, now);
    const jobs = [...this.#jobs.values(), ...this.#refused];
    return { jobs, machines: this.#spans, orders: this.#orders, endMs: now - this.#beginsAt };
  }

  #noteJob(event: BerthEvent, atMs: number): void {
    if (event.type === 'allocation.started') {
      const job = this.#jobs.get(parseAllocationId(event.allocationId)?.jobId as JobId);
      if (job) job.startMs ??= atMs;
    }
    if (event.type !== 'job.finished') return;
    this.finishedCount += 1;
    const job = this.#jobs.get(event.jobId);
    if (job) job.endMs = atMs;
  }

  #noteMachine(event: BerthEvent, at: EpochMs): void {
    switch (event.type) {
      case 'instance.requested':
        this.#open(event, at);
        this.#ordered(event.pool, at, 'boot');
        return;
      case 'instance.resuming':
        this.#move(event.instanceId, at, 'resuming');
        this.#ordered(this.#machines.get(event.instanceId)?.pool ?? '', at, 'resume');
        return;
      case 'instance.joined':
        this.#move(event.instanceId, at, 'on');
        return;
      case 'instance.stopping':
        this.#move(event.instanceId, at, 'switching off');
        return;
      case 'instance.suspended':
        this.#move(event.instanceId, at, 'suspended');
        return;
      case 'instance.orderFailed':
        this.#failed(event.instanceId, at, event.order);
        return;
      case 'instance.terminated':
        this.#gone(event.instanceId, at);
        return;
      case 'allocation.committed':
        this.#hold(event.nodeId, at, 1, event.allocationId);
        return;
      case 'allocation.ended':
        this.#hold(this.#nodeOf.get(event.allocationId), at, -1, event.allocationId);
        return;
      default:
    }
  }

  readonly #nodeOf = new Map<string, NodeId>();

  #hold(nodeId: NodeId | undefined, at: EpochMs, change: 1 | -1, allocationId: string): void {
    if (nodeId && change === 1) this.#nodeOf.set(allocationId, nodeId);
    else this.#nodeOf.delete(allocationId);
    const machine = nodeId && this.#byNode.get(nodeId);
    if (!machine) return;
    this.#close(machine, at);
    machine.liveCount += change;
  }

  #open({ instanceId: id, pool, nodeId }: { instanceId: InstanceId; pool: string; nodeId: NodeId }, at: EpochMs): void {
    const machine: OpenMachine = { id, pool, nodeId, phase: 'booting', liveCount: 0, since: at };
    this.#machines.set(id, machine);
    this.#byNode.set(nodeId, machine);
  }

  #move(id: InstanceId, at: EpochMs, phase: OpenMachine['phase']): void {
    const machine = this.#machines.get(id);
    if (!machine) return;
    this.#close(machine, at);
    machine.phase = phase;
  }

  #failed(id: InstanceId, at: EpochMs, order: 'create' | 'resume' | 'suspend' | 'join'): void {
    const machine = this.#machines.get(id);
    if (!machine || order === 'suspend') return;
    const kind = order === 'resume' ? 'resume' : 'boot';
    for (let last = this.#orders.length - 1; last >= 0; last -= 1) {
      const known = this.#orders[last];
      if (known?.pool !== machine.pool || known.kind !== kind || known.failed) continue;
      this.#orders[last] = { ...known, failed: true };
      break;
    }
    if (order === 'create') this.#gone(id, at);
    else this.#move(id, at, order === 'resume' ? 'suspended' : 'switching off');
  }

  #gone(id: InstanceId, at: EpochMs): void {
    const machine = this.#machines.get(id);
    if (!machine) return;
    this.#close(machine, at);
    this.#machines.delete(id);
    this.#byNode.delete(machine.nodeId);
  }

  #ordered(pool: string, at: EpochMs, kind: PowerOrder['kind']): void {
    const atMs = at - this.#beginsAt;
    // What was switched on before the scenario began belongs to its past.
    if (atMs >= 0) this.#orders.push({ pool, atMs, kind, failed: false });
  }

  /** Ends the span that the machine is in; another begins now. */
  #close(machine: OpenMachine, at: EpochMs): void {
    const { id, pool, since } = machine;
    const fromMs = Math.max(0, since - this.#beginsAt);
    const untilMs = at - this.#beginsAt;
    if (untilMs > fromMs) this.#spans.push({ machine: id, pool, state: stateOf(machine), fromMs, untilMs });
    machine.since = at;
  }
}

function stateOf({ phase, liveCount }: OpenMachine): MachineState {
  if (phase !== 'on') return phase;
  return liveCount > 0 ? 'busy' : 'idle';
}
