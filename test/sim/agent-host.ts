import { Agent } from '../../agent/agent.js';
import { MemoryAgentStore } from '../../agent/store/memory-store.js';
import type { Clock } from '../../shared/clock.js';
import { AppError } from '../../shared/errors.js';
import type { NodeId } from '../../shared/ids.js';
import { silentLog } from '../../shared/log.js';
import type { Random } from '../../shared/random.js';
import { VERSION } from '../../shared/version.js';
import type { Channel } from '../../shared/wire/channel.js';
import type { Heartbeat, Inventory } from '../../shared/wire/messages.js';
import { FakeMachine } from '../fakes/fake-driver.js';
import { Mortal } from './mortal.js';
import type { Story } from './story.js';

export interface AgentHostOptions {
  readonly name: NodeId;
  readonly clock: Clock;
  readonly random: Random;
  readonly inventory: Inventory;
  readonly story: Story;
  /** Of its disk; the same for every start of a machine, and another for another machine of the same name. */
  readonly identity?: string;
  /** It comes with a ticket, which may be void when it comes too late. */
  readonly isRented?: true;
  /** Undefined when the coordinator cannot be reached. */
  readonly dial: () => Channel | undefined;
}

const NO_LOAD: Heartbeat = { cpuUsedMillis: 0, memoryUsedMiB: 0, diskFreeMiB: 0, sentAt: 0, load: 0 };

/** A worker machine: the real agent, whose tasks and disk outlive it. */
export class AgentHost {
  readonly machine: FakeMachine;
  readonly #options: AgentHostOptions;
  readonly #store: MemoryAgentStore;
  #life: Mortal | undefined;
  #agent: Agent | undefined;

  constructor(options: AgentHostOptions) {
    this.#options = options;
    this.machine = new FakeMachine(options.clock);
    this.#store = new MemoryAgentStore(options.identity ?? `identity-of-${options.name}`);
  }

  get name(): NodeId {
    return this.#options.name;
  }

  get isRunning(): boolean {
    return this.#agent !== undefined;
  }

  start(): void {
    const { name, random, inventory, story, dial } = this.#options;
    const life = new Mortal();
    this.#life = life;
    this.#agent = new Agent({
      nodeId: name,
      version: VERSION,
      bootId: this.machine.bootId,
      store: life.port(this.#store),
      drivers: new Map([['process', this.machine.driver()]]),
      dial: async () => {
        const channel = dial();
        if (!channel) throw new AppError('unreachable', 'connection refused');
        return channel;
      },
      clock: life.clock(this.#options.clock),
      random,
      log: silentLog,
      inventory: async () => inventory,
      heartbeat: async () => NO_LOAD,
    });
    this.#agent.run().catch((error: unknown) => {
      const gaveUp = `agent ${name} gave up: ${String(error)}`;
      if (this.#options.isRented) story.tell(name, gaveUp);
      else story.broken(gaveUp);
    });
    story.tell(name, 'agent started');
  }

  /** kill -9 of the agent: its tasks go on (P5). */
  kill(): void {
    if (!this.#agent) return;
    this.#life?.die();
    this.#agent.abandon();
    this.#agent = undefined;
    this.#options.story.tell(name(this), `agent killed, ${this.machine.running.length} tasks go on`);
  }

  /** The power fails: tasks are gone too. */
  reboot(): void {
    this.kill();
    this.machine.reboot();
    this.#options.story.tell(name(this), 'machine rebooted');
  }
}

function name(host: AgentHost): string {
  return host.name;
}
