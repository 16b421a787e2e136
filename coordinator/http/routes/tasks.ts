import Type from 'typebox';
import { showTask } from '../../service/jobs.js';
import { listTasks, TASK_STATES } from '../../service/list-tasks.js';
import { taskSchema } from '../../service/present-task.js';
import { nullable, oneOf } from '../../service/schemas.js';
import {
  answers,
  cursorField,
  jobParams,
  nothing,
  pageSize,
  type RouteContext,
  type Server,
  strict,
  taskParams,
} from '../context.js';
import { granted } from '../problem.js';

const DEFAULT_PAGE = 100;

const listQuery = Type.Object(
  { limit: pageSize(DEFAULT_PAGE), cursor: cursorField, state: Type.Optional(oneOf(TASK_STATES)) },
  strict,
);

export function taskRoutes(server: Server, { service }: RouteContext): void {
  server.get(
    '/v1/jobs/:id/tasks',
    {
      schema: {
        summary: "List a job's tasks in the order of steps and indexes",
        params: jobParams,
        querystring: listQuery,
        response: answers(Type.Object({ tasks: Type.Array(taskSchema), nextCursor: nullable(Type.String()) })),
      },
    },
    async ({ params, query }) => granted(await listTasks(service(), params.id, query)),
  );

  server.get(
    '/v1/jobs/:id/tasks/:task',
    {
      schema: {
        summary: 'Show a task with its attempts',
        params: taskParams,
        querystring: nothing,
        response: answers(taskSchema),
      },
    },
    async ({ params }) => granted(await showTask(service(), params.id, params.task)),
  );
}
