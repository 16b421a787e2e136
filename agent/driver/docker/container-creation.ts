import type { Readable } from 'node:stream';
import type Docker from 'dockerode';
import { isShellName } from '../../../shared/secrets.js';
import type { PreparedOrder } from '../driver.js';
import { type SecretFolder, secretComplaint, secretsIn } from '../secret-folder.js';
import type { TaskBase } from '../task-environment.js';
import { containerOptions, SHELL } from './container-options.js';
import type { ContainerRun } from './container-run.js';
import { type DownOptions, whileDown } from './daemon-down.js';
import { type DockerPolicy, forbidden } from './docker-policy.js';
import { hasStarted } from './ends.js';
import { type EngineKind, inspectContainer } from './engine.js';
import { faultKind, StartFault } from './faults.js';
import type { Images, ReadyImage } from './images.js';
import type { Spool } from './spool.js';

export interface CreationOptions extends DownOptions {
  readonly docker: Docker;
  readonly engineKind: () => Promise<EngineKind>;
  readonly images: Images;
  readonly spool: Spool;
  /** Absent where there is no place in memory; then no order has secrets. */
  readonly secrets?: SecretFolder | undefined;
  readonly owner: string;
  readonly task: TaskBase;
  readonly policy: DockerPolicy;
}

export interface CreatedContainer {
  readonly container: Docker.Container;
  /** Its output to be. */
  readonly stream: Readable;
}

/** It takes the request and starts the container without one. */
const NO_PODMAN_GPUS = "this node's Podman has no GPU runtime that can be asked for through Docker's API";

/** The order's container, not yet started; tries again while the daemon is away. Errors: as `endOfRefusal` reads them. */
export async function createdContainer(
  run: ContainerRun,
  order: PreparedOrder,
  options: CreationOptions,
): Promise<CreatedContainer> {
  const { images, spool, owner, task, policy, clock, docker } = options;
  const refused = forbidden(order.container ?? {}, policy);
  if (refused !== undefined) throw new StartFault('node', refused);
  const complaint = secretComplaint(order) ?? variableComplaint(order);
  if (complaint !== undefined) throw new StartFault('order', complaint);
  const secrets = secretsIn(options.secrets, order);
  if (order.run.kind === 'script') spool.writeScript(run.id, order.run.script);
  const release = await images.hold(order.image ?? '');
  return whileDown(run, options, async () => {
    const askedAt = clock.monotonic();
    const image = await readyImage(run, order, images);
    run.pulledMs = clock.monotonic() - askedAt;
    run.abort.signal.throwIfAborted();
    run.image = image.digest;
    const engine = await options.engineKind();
    if (engine === 'podman' && order.gpus.length > 0) throw new StartFault('node', NO_PODMAN_GPUS);
    const place = { owner, engine, image, script: spool.script(run.id), secrets, base: task, policy };
    const container = await created(docker, run, containerOptions(order, place));
    if (secrets.envFile !== null) await assertShell(container);
    const stream = await container.attach({ stream: true, stdout: true, stderr: true });
    return { container, stream: stream as unknown as Readable };
  }).finally(release);
}

async function readyImage(run: ContainerRun, order: PreparedOrder, images: Images): Promise<ReadyImage> {
  const { image, container, registryAuth } = order;
  try {
    return await images.ready({
      image: image ?? '',
      pull: container?.pull ?? 'missing',
      ...(registryAuth === undefined ? {} : { auth: registryAuth }),
      signal: run.abort.signal,
      progress: (progress) => {
        run.pull = { kind: 'pulling', image: image ?? '', ...progress };
      },
    });
  } finally {
    run.pull = null;
  }
}

async function created(
  docker: Docker,
  run: ContainerRun,
  options: Docker.ContainerCreateOptions,
): Promise<Docker.Container> {
  try {
    return await docker.createContainer(options);
  } catch (error) {
    // An earlier try of ours made it, whose answer never came.
    if (faultKind(error) !== 'conflict') throw error;
    const found = await inspectContainer(docker, run.name);
    if (found && !hasStarted(found.State)) return docker.getContainer(found.Id);
    throw error;
  }
}

/** What a shell does not pass on, when one sets secrets. */
function variableComplaint({ secrets = [], env }: PreparedOrder): string | undefined {
  const name =
    secrets.some((secret) => secret.env !== undefined) && Object.keys(env).find((name) => !isShellName(name));
  if (!name) return undefined;
  return `the variable "${name}" does not pass the shell that sets secrets; take them as files, or rename it`;
}

async function assertShell(container: Docker.Container): Promise<void> {
  try {
    await container.infoArchive({ path: SHELL });
  } catch (error) {
    if (faultKind(error) !== 'absent') throw error;
    throw new StartFault('order', `the image has no ${SHELL}, which secrets as variables need; take them as files`);
  }
}
