import { cpusOf } from '../../../shared/units.js';
import type { FragmentationView, Stranded } from '../api.js';
import type { Column } from './table.js';

type Row = Stranded & { readonly node: string };

export function strandedColumns(): readonly Column<Row>[] {
  const gpus = (title: string, millis: (row: Row) => number): Column<Row> => ({
    title,
    text: (row) => String(cpusOf(millis(row))),
    align: 'right',
  });
  return [
    { title: 'NODE', text: ({ node }) => node },
    gpus('GPUS FREE', (row) => row.freeMillis),
    gpus('STRANDED', (row) => row.strandedMillis),
    gpus('BY CPU', (row) => row.byCause.cpu),
    gpus('BY MEMORY', (row) => row.byCause.memory),
    gpus('BY DISK', (row) => row.byCause.disk),
    gpus('IN PIECES', (row) => row.byCause.pieces),
    gpus('UNFIT', (row) => row.byCause.unfit),
  ];
}

/** Against what it was measured. */
export function fragmentationRemark({ basis, demandCount, freeMillis, strandedMillis }: FragmentationView): string {
  const share = freeMillis === 0 ? 0 : Math.round((100 * strandedMillis) / freeMillis);
  const against =
    basis === 'tasks'
      ? `the ${demandCount} ${demandCount === 1 ? 'demand' : 'demands'} of GPU tasks that wait or run`
      : 'a task of one whole GPU, as no GPU task is known';
  return `${share}% of the free GPU is stranded, measured against ${against}\n`;
}
