import type { Cancel, Clock } from '../../shared/clock.js';
import type { AllocationId, InstanceId, NodeId } from '../../shared/ids.js';
import type { AllocationEnd } from '../../shared/outcome.js';
import { POOL_LABEL, type PoolSpec, type PowerOff } from '../../shared/pool.js';
import type { Random } from '../../shared/random.js';
import { VERSION } from '../../shared/version.js';
import { type HeldPhase, PROTOCOL_VERSION } from '../../shared/wire/messages.js';
import type { Machine, MachineState } from '../elastic/provider.js';
import type { Effect, Input, MachineEffect, NodeEffect } from '../engine/inputs.js';
import type { Instance } from '../model/instance.js';
import type { ClusterView } from '../model/state.js';
import type { PoolFailure } from './scenario.js';

interface WorldOptions {
  readonly clock: Clock;
  readonly random: Random;
  readonly jitter: number;
  readonly pools: readonly PoolSpec[];
  readonly failures: readonly PoolFailure[];
  /** When the scenario begins, on the clock. */
  readonly beginsAt: number;
  readonly view: () => ClusterView;
  readonly handle: (input: Input) => void;
  /** How long a task of the allocation runs. */
  readonly runMsOf: (id: AllocationId) => number;
}

interface SimMachine {
  readonly instance: Pick<Instance, 'id' | 'nodeId' | 'pool'>;
  state: MachineState;
  bootCount: number;
  readonly running: Map<AllocationId, Cancel>;
}

/** What is outside the engine: a provider that makes machines in time and up to its quota, and agents that run tasks. */
export class SimMachines {
  readonly #options: WorldOptions;
  readonly #machines = new Map<InstanceId, SimMachine>();

  constructor(options: WorldOptions) {
    this.#options = options;
  }

  perform(effects: readonly Effect[]): void {
    for (const effect of effects) {
      if (effect.kind === 'machine' || effect.kind === 'orphan') this.#operate(effect);
      else this.#tell(effect);
    }
  }

  #operate(effect: MachineEffect): void {
    const instance = effect.kind === 'machine' ? this.#options.view().instances.get(effect.instanceId) : undefined;
    switch (instance?.phase.kind) {
      case 'requested':
        this.#create(instance);
        return;
      case 'resuming':
        this.#resume(instance);
        return;
      case 'stopping':
        this.#switchOff(instance, instance.phase.to);
        return;
      default:
    }
  }

  #create(instance: Instance): void {
    const { clock, handle } = this.#options;
    const { id: instanceId, pool: name } = instance;
    const pool = this.#pool(name);
    const made = this.#machinesOf(name).length;
    const isShort = this.#fails(name, 'capacity');
    if (isShort || (pool.quota !== null && made >= pool.quota)) {
      const fault = isShort ? 'capacity' : 'quota';
      const message = isShort ? 'no machine of this kind is left' : `${made} of ${pool.quota} machines are in use`;
      handle({ type: 'machineRefused', instanceId, order: 'create', fault, message });
      return;
    }
    const machine: SimMachine = { instance, state: 'starting', bootCount: 0, running: new Map() };
    this.#machines.set(instanceId, machine);
    handle({ type: 'machineCreated', instanceId, ref: instanceId });
    clock.after(this.#varied(pool.times.bootMs), () => this.#join(machine));
  }

  #resume({ id: instanceId, pool: name }: Instance): void {
    const { clock, handle } = this.#options;
    const machine = this.#machines.get(instanceId);
    if (!machine) return;
    if (this.#fails(name, 'capacity')) {
      const message = 'no machine of this kind is left';
      handle({ type: 'machineRefused', instanceId, order: 'resume', fault: 'capacity', message });
      return;
    }
    machine.state = 'starting';
    clock.after(this.#varied(this.#pool(name).times.resumeMs), () => this.#join(machine));
  }

  #switchOff({ id: instanceId, pool: name }: Instance, to: PowerOff): void {
    const machine = this.#machines.get(instanceId);
    if (!machine || machine.state === 'suspending' || machine.state === 'terminating') return;
    for (const cancel of machine.running.values()) cancel();
    machine.running.clear();
    machine.state = to === 'suspend' ? 'suspending' : 'terminating';
    this.#options.clock.after(this.#varied(this.#pool(name).times.offMs), () => {
      if (to === 'suspend') machine.state = 'suspended';
      else this.#machines.delete(instanceId);
      this.#report(name);
    });
  }

  #join(machine: SimMachine): void {
    const { handle } = this.#options;
    const { nodeId, pool: name } = machine.instance;
    if (machine.state !== 'starting' || this.#fails(name, 'no-join')) return;
    machine.state = 'running';
    machine.bootCount += 1;
    const { capacity, gpus, labels, attributes, drivers } = this.#pool(name).node;
    handle({
      type: 'agentJoined',
      hello: {
        protocol: PROTOCOL_VERSION,
        version: VERSION,
        nodeId,
        identity: nodeId,
        instance: `${nodeId}/${machine.bootCount}`,
        bootId: String(machine.bootCount),
        inventory: { capacity, gpus, labels: { ...labels, [POOL_LABEL]: name }, attributes, drivers },
        held: [],
      },
    });
  }

  #report(pool: string): void {
    const machines = this.#machinesOf(pool).map(({ instance, state }): Machine => {
      return { ref: instance.id, instanceId: instance.id, pool, state };
    });
    this.#options.handle({ type: 'machinesListed', pool, machines, askedAt: this.#options.clock.now() });
  }

  #tell(effect: NodeEffect): void {
    const machine = this.#machineOf(effect.nodeId);
    if (machine?.state !== 'running') return;
    switch (effect.kind) {
      case 'start':
        this.#start(machine, effect.allocationId);
        return;
      case 'stop':
        this.#stop(machine, effect.allocationId);
        return;
      case 'intake':
        this.#confirmClosed(machine);
        return;
      default:
    }
  }

  #start(machine: SimMachine, id: AllocationId): void {
    this.#say(machine, id, 'running');
    const runMs = this.#options.runMsOf(id);
    const cancel = this.#options.clock.after(runMs, () => {
      this.#end(machine, id, { kind: 'exited', exitCode: 0, ranMs: runMs });
    });
    machine.running.set(id, cancel);
  }

  #stop(machine: SimMachine, id: AllocationId): void {
    const phase = this.#options.view().allocations.get(id)?.phase;
    machine.running.get(id)?.();
    const reason = phase?.kind === 'stopping' ? phase.reason : 'stale';
    if (machine.running.has(id)) this.#end(machine, id, { kind: 'stopped', reason, ranMs: 0 });
  }

  #end(machine: SimMachine, id: AllocationId, end: AllocationEnd): void {
    machine.running.delete(id);
    this.#say(machine, id, 'ended', end);
    this.#confirmClosed(machine);
  }

  #say({ instance }: SimMachine, allocationId: AllocationId, phase: HeldPhase, end?: AllocationEnd): void {
    const report = { allocationId, phase, ageMs: 0, ...(end ? { end: { end, stdoutBytes: 0, stderrBytes: 0 } } : {}) };
    this.#options.handle({ type: 'agentReported', nodeId: instance.nodeId, report });
  }

  /** A node that was asked to close says so as soon as it holds nothing. */
  #confirmClosed({ instance, running }: SimMachine): void {
    const known = this.#options.view().instances.get(instance.id);
    if (known?.phase.kind !== 'closing' || running.size > 0) return;
    this.#options.handle({ type: 'agentClosed', nodeId: instance.nodeId, closing: known.closingCount });
  }

  #machineOf(nodeId: NodeId): SimMachine | undefined {
    const id = this.#options.view().index.instanceByNode.get(nodeId);
    return id && this.#machines.get(id);
  }

  #machinesOf(pool: string): readonly SimMachine[] {
    return [...this.#machines.values()].filter(({ instance }) => instance.pool === pool);
  }

  #pool(name: string): PoolSpec {
    const pool = this.#options.pools.find((each) => each.name === name);
    if (!pool) throw new Error(`there is no pool ${name}`);
    return pool;
  }

  #fails(pool: string, kind: PoolFailure['kind']): boolean {
    const atMs = this.#options.clock.now() - this.#options.beginsAt;
    return this.#options.failures.some(
      (failure) => failure.pool === pool && failure.kind === kind && atMs >= failure.fromMs && atMs < failure.untilMs,
    );
  }

  #varied(durationMs: number): number {
    return varied(durationMs, this.#options);
  }
}

/** The duration, a little shorter or longer. */
export function varied(
  durationMs: number,
  { random, jitter }: { readonly random: Random; readonly jitter: number },
): number {
  return jitter === 0 ? durationMs : Math.round(durationMs * (1 + jitter * (2 * random.next() - 1)));
}
