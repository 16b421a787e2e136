import type { Input } from '../../coordinator/engine/inputs.js';
import { below } from '../../shared/random.js';
import type { AgentHost } from './agent-host.js';
import type { Fault } from './fault.js';
import { FAIR } from './network.js';
import type { CloudTrouble } from './sim-cloud.js';
import { SIM, type World } from './world.js';

type FaultMaker = (world: World, at: number) => Fault[];

const MAX_FAULTS = 12;
const LONG_MS = 2 * SIM.nodeLeaseMs;

/** Each kind of fault is as likely as any other. */
const MAKERS: readonly FaultMaker[] = [
  coordinatorCrash,
  agentCrash,
  reboot,
  partition,
  badWeather,
  nodeTrouble,
  cancel,
  drain,
  hold,
  appendFails,
  cloudTrouble,
  meddling,
];

export function randomFaults(world: World): Fault[] {
  const faults: Fault[] = [];
  const count = below(world.random, MAX_FAULTS + 1);
  for (let number = 0; number < count; number += 1) {
    const maker = MAKERS[below(world.random, MAKERS.length)];
    if (maker) faults.push(...maker(world, below(world.random, world.shape.troubledMs)));
  }
  return faults;
}

function coordinatorCrash(world: World, at: number): Fault[] {
  return [
    { at, what: 'kill -9 coordinator', act: () => world.killCoordinator() },
    { at: at + below(world.random, LONG_MS), what: 'start coordinator', act: () => world.startCoordinator() },
  ];
}

/** The disk refuses, or swallows, an append at some point: the process ends with its fate unknown. */
function appendFails(world: World, at: number): Fault[] {
  const fault = (['fail', 'lose-ack', 'hang'] as const)[below(world.random, 3)] ?? 'fail';
  return [
    { at, what: `next append: ${fault}`, act: () => world.coordinator.spoilNextAppend(fault) },
    { at: at + 5_000, what: 'kill -9 coordinator, if it hangs', act: () => world.killCoordinator() },
    { at: at + 5_000 + below(world.random, LONG_MS), what: 'start coordinator', act: () => world.startCoordinator() },
  ];
}

/** A machine is picked when the fault comes; what mends it finds the same one. */
function onSomeMachine(world: World) {
  let picked: AgentHost | undefined;
  return {
    pick: (act: (agent: AgentHost) => void) => (): void => {
      picked = world.anyAgent();
      if (picked) act(picked);
    },
    same: (act: (agent: AgentHost) => void) => (): void => {
      if (picked) act(picked);
    },
  };
}

function agentCrash(world: World, at: number): Fault[] {
  const { pick, same } = onSomeMachine(world);
  return [
    { at, what: 'kill -9 of an agent', act: pick((agent) => world.killAgent(agent)) },
    { at: at + below(world.random, LONG_MS), what: 'start it', act: same((agent) => world.startAgent(agent)) },
  ];
}

function reboot(world: World, at: number): Fault[] {
  const { pick, same } = onSomeMachine(world);
  return [
    { at, what: 'power of a machine fails', act: pick((agent) => world.reboot(agent)) },
    { at: at + 1_000 + below(world.random, LONG_MS), what: 'it boots', act: same((agent) => world.startAgent(agent)) },
  ];
}

/** Shorter or longer than the lease. */
function partition(world: World, at: number): Fault[] {
  const { pick, same } = onSomeMachine(world);
  const mendedAt = at + below(world.random, 3 * SIM.nodeLeaseMs);
  return [
    { at, what: 'a machine is cut off', act: pick(({ name }) => world.network.cut(name)) },
    { at: mendedAt, what: 'it is mended', act: same(({ name }) => world.network.mend(name)) },
  ];
}

function badWeather(world: World, at: number): Fault[] {
  const weather = {
    dropRate: below(world.random, 30) / 100,
    duplicateRate: below(world.random, 30) / 100,
    maxDelayMs: 1 + below(world.random, 500),
  };
  return [
    { at, what: `weather ${JSON.stringify(weather)}`, act: () => world.network.change(weather) },
    { at: at + below(world.random, LONG_MS), what: 'fair weather', act: () => world.network.change(FAIR) },
  ];
}

/** Its file server is away, say. */
function nodeTrouble(world: World, at: number): Fault[] {
  const { pick, same } = onSomeMachine(world);
  const become = (trouble: string | null) => (agent: AgentHost) => {
    agent.machine.trouble = trouble;
  };
  return [
    { at, what: 'a machine rejects what comes', act: pick(become('it has trouble')) },
    { at: at + below(world.random, 2 * LONG_MS), what: 'it does no more', act: same(become(null)) },
  ];
}

function cancel(world: World, at: number): Fault[] {
  return [{ at, what: 'a user cancels', act: () => void world.cancelSome() }];
}

function hold(world: World, at: number): Fault[] {
  const jobInput = (type: 'holdJob' | 'releaseJob') => (): void => {
    const jobId = world.anyJob();
    if (jobId) void world.coordinator.engine?.handle({ type, jobId }).catch(() => {});
  };
  return [
    { at, what: 'a user holds', act: jobInput('holdJob') },
    { at: at + below(world.random, 20_000), what: 'a user releases', act: jobInput('releaseJob') },
  ];
}

function cloudTrouble(world: World, at: number): Fault[] {
  const kinds = ['quota', 'capacity', 'down', 'hang', 'lost-answer', 'forgetful'] as const;
  const trouble = kinds[below(world.random, kinds.length)] ?? 'down';
  const become = (next: CloudTrouble) => (): void => {
    world.cloud.trouble = next;
  };
  return [
    { at, what: `cloud: ${trouble}`, act: become(trouble) },
    { at: at + below(world.random, LONG_MS), what: 'cloud: as it should be', act: become('none') },
  ];
}

function meddling(world: World, at: number): Fault[] {
  const how = below(world.random, 2) === 0 ? 'terminate' : 'suspend';
  return [{ at, what: `somebody lets a machine ${how}`, act: () => world.cloud.meddle(how) }];
}

function drain(world: World, at: number): Fault[] {
  const { pick, same } = onSomeMachine(world);
  const deadlineMs = below(world.random, 10_000);
  const by = 'sim';
  const say = (input: Input): void => void world.coordinator.engine?.handle(input).catch(() => {});
  return [
    {
      at,
      what: 'drain a node',
      act: pick(({ name: nodeId }) => say({ type: 'drainNode', nodeId, reason: 'sim', deadlineMs, by })),
    },
    {
      at: at + below(world.random, 30_000),
      what: 'open it',
      act: same(({ name: nodeId }) => say({ type: 'openNode', nodeId, by })),
    },
  ];
}
