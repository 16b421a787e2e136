import t from 'tap';
import { taskDriverConformance } from '../conformance/task-driver.js';
import { dockerTests, startDocker } from '../kit/docker.js';
import { dockerBench } from '../kit/docker-bench.js';

// Containers are slow to start on a busy machine.
t.setTimeout(300_000);

// A driver keeps no process alive by itself.
const keepAlive = setInterval(() => {}, 60_000);
t.teardown(() => clearInterval(keepAlive));

t.test('against a real Docker daemon', dockerTests, async (t) => {
  const daemon = startDocker(t);
  t.test('the Docker driver', async (t) => taskDriverConformance(t, (t) => dockerBench(t, daemon)));
});
