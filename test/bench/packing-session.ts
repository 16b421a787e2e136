import { ChangeLog } from '../../coordinator/model/change-log.js';
import { ClassTable, type DemandClass } from '../../coordinator/model/demand.js';
import { NOTHING_USED, type NodeUsage } from '../../coordinator/model/indexes.js';
import { MixCounter, type TaskMix } from '../../coordinator/model/mix.js';
import type { Node } from '../../coordinator/model/node.js';
import { type Place, Placer } from '../../coordinator/scheduler/placer.js';
import type { NodeId } from '../../shared/ids.js';
import { addResources, subtractResources, WHOLE_GPU_MILLIS } from '../../shared/resources.js';
import { anInventory, aStep } from '../kit/builders.js';

/** A task of the packing protocol; `milli` applies to each device. */
export interface PackingTask {
  readonly cpu: number;
  readonly mem: number;
  readonly gpus: number;
  readonly milli: number;
  readonly models: readonly string[];
}

export interface PackingNode {
  readonly id: string;
  readonly cpu: number;
  readonly mem: number;
  readonly gpus: number;
  readonly model: string;
}

/** Memory of a device in MiB; the protocol does not say, and no task asks. */
const DEVICE_MIB = 16_384;

/** The packing protocol's tasks and nodes, put to the planner's own choice of node and devices. */
export class PackingSession {
  readonly #classes = new ClassTable();
  readonly #placer = new Placer();
  readonly #counter = new MixCounter();
  #history: TaskMix | undefined;
  readonly #nodes = new Map<NodeId, Node>();
  readonly #usage = new Map<NodeId, NodeUsage>();
  readonly #changes = new ChangeLog<NodeId>();
  readonly #placed = new Map<number, { readonly demand: DemandClass; readonly place: Place }>();

  /** The mix to expect; without it, it is learnt from the tasks that come. */
  expect(history: readonly (PackingTask & { readonly weight: number })[]): void {
    this.#history = new Map(history.map((task) => [this.#demandOf(task), task.weight]));
  }

  addNode({ id, cpu, mem, gpus, model }: PackingNode): void {
    const inventory = anInventory({
      capacity: { cpuMillis: cpu, memoryMiB: mem, diskMiB: 0 },
      gpus: Array.from({ length: gpus }, (_, index) => ({
        index,
        uuid: `${id}-${index}`,
        model,
        memoryMiB: DEVICE_MIB,
      })),
    });
    this.#nodes.set(id as NodeId, {
      id: id as NodeId,
      identity: id,
      version: '',
      bootId: '',
      inventory,
      registeredAt: 0,
      link: { kind: 'connected', since: 0 },
      intake: { kind: 'open' },
      nodeClass: this.#classes.nodeClassOf(inventory),
    });
  }

  /** Finds the prices before the first task waits for them. */
  start(): void {
    this.#follow();
  }

  /** Where the task goes, which then holds its place; undefined when no node has room. */
  place(seq: number, task: PackingTask): Place | undefined {
    const demand = this.#demandOf(task);
    if (this.#history === undefined) this.#counter.add(demand, 1);
    this.#follow();
    const row = this.#placer.find(demand);
    if (row === undefined) return undefined;
    const place = this.#placer.place(row, demand);
    this.#placed.set(seq, { demand, place });
    this.#use(place, demand, 1);
    return place;
  }

  release(seq: number): void {
    const held = this.#placed.get(seq);
    if (held === undefined) return;
    this.#placed.delete(seq);
    this.#use(held.place, held.demand, -1);
  }

  #follow(): void {
    const mix = this.#history ?? this.#counter.shown;
    const index = { usage: (id: NodeId) => this.#usage.get(id) ?? NOTHING_USED, nodeChanges: this.#changes, mix };
    this.#placer.follow({ nodes: this.#nodes, index }, 'pack');
  }

  #use({ node, gpus }: Place, { resources, gpus: demand }: DemandClass, sign: 1 | -1): void {
    const before = this.#usage.get(node.id) ?? NOTHING_USED;
    const gpuMillis = new Map(before.gpuMillis);
    for (const gpu of gpus) {
      gpuMillis.set(gpu, (gpuMillis.get(gpu) ?? 0) + sign * (demand?.shareMillis ?? WHOLE_GPU_MILLIS));
    }
    const used = sign === 1 ? addResources(before.used, resources) : subtractResources(before.used, resources);
    this.#usage.set(node.id, { ...before, used, gpuMillis });
    this.#changes.note(node.id);
  }

  #demandOf({ cpu, mem, gpus, milli, models }: PackingTask): DemandClass {
    const part = milli < WHOLE_GPU_MILLIS ? { shareMillis: milli } : {};
    const model = models.length === 0 ? null : [...models].sort();
    return this.#classes.demandOf(
      aStep({
        resources: {
          cpuMillis: cpu,
          memoryMiB: mem,
          diskMiB: 0,
          gpus: gpus === 0 ? null : { count: gpus, model, minMemoryMiB: null, ...part },
        },
      }),
    );
  }
}
