import Type from 'typebox';
import { receiptOf, receiptSchema } from '../../service/receipt.js';
import { reportSchema, reportTime } from '../../service/report.js';
import { answers, jobParams, nothing, type RouteContext, type Server, strict } from '../context.js';
import { granted } from '../problem.js';

const reportQuery = Type.Object(
  {
    since: Type.String({ description: 'Its beginning: 7d ago, or 2026-01-31T12:00:00Z.' }),
    until: Type.Optional(Type.String({ description: 'Its end, in the same form; now when absent.' })),
  },
  strict,
);

export function reportRoutes(server: Server, { service }: RouteContext): void {
  server.get(
    '/v1/report',
    {
      schema: {
        summary: 'Tell what jobs and rented machines did over a time',
        querystring: reportQuery,
        response: answers(reportSchema),
      },
    },
    async ({ query }) => granted(await reportTime(service(), query)),
  );
  server.get(
    '/v1/jobs/:id/receipt',
    {
      schema: {
        summary: 'Tell what a job has cost on nodes that have a price',
        params: jobParams,
        querystring: nothing,
        response: answers(receiptSchema),
      },
    },
    async ({ params: { id } }) => granted(await receiptOf(service(), id)),
  );
}
