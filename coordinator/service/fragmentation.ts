import Type, { type Static } from 'typebox';
import { gpuMix, type NodeStranded, type StrandCause, strandedGpus, WHOLE_GPU } from '../scheduler/fragmentation.js';
import { oneOf } from './schemas.js';
import type { Service } from './service.js';

const millis = Type.Integer({ minimum: 0 });
const causes = Type.Object(
  { cpu: millis, memory: millis, disk: millis, pieces: millis, unfit: millis },
  {
    description:
      'Thousandths of GPUs that the average GPU task cannot use, by what keeps it from them: too little CPU, memory or disk beside them; pieces too small; a node that its constraints exclude.',
  },
);
const stranded = { freeMillis: millis, strandedMillis: millis, byCause: causes };

export const fragmentationSchema = Type.Object({
  basis: oneOf(
    ['tasks', 'whole-gpu'],
    'Against which demands: those of GPU tasks that wait or run, or, without any, one whole GPU with default CPU and memory.',
  ),
  demandCount: Type.Integer({ minimum: 1 }),
  ...stranded,
  nodes: Type.Array(Type.Object({ node: Type.String(), ...stranded }), {
    description: 'Nodes with free GPU, the most stranded first.',
  }),
});
export type FragmentationView = Static<typeof fragmentationSchema>;

/** How much free GPU is of no use to the tasks that the cluster gets, and what makes it so. */
export function reportFragmentation(service: Service): Promise<FragmentationView> {
  return service.engine.read((view) => {
    const known = gpuMix(view);
    const mix = known.size > 0 ? known : WHOLE_GPU;
    const nodes = strandedGpus(view, mix).map(present);
    const sum = (of: (node: FragmentationView['nodes'][number]) => number): number =>
      nodes.reduce((total, node) => total + of(node), 0);
    const total = (cause: StrandCause): number => sum(({ byCause }) => byCause[cause]);
    return {
      basis: known.size > 0 ? 'tasks' : 'whole-gpu',
      demandCount: mix.size,
      freeMillis: sum((node) => node.freeMillis),
      strandedMillis: sum((node) => node.strandedMillis),
      byCause: {
        cpu: total('cpu'),
        memory: total('memory'),
        disk: total('disk'),
        pieces: total('pieces'),
        unfit: total('unfit'),
      },
      nodes,
    };
  });
}

function present({ node, freeMillis, strandedMillis, byCause }: NodeStranded): FragmentationView['nodes'][number] {
  return { node: node.id, freeMillis, strandedMillis, byCause };
}
