import type Docker from 'dockerode';
import { type Clock, sleep } from '../../../../shared/clock.js';
import { Unfit } from '../../../../shared/config.js';
import type { InstanceId } from '../../../../shared/ids.js';
import { shown } from '../../../../shared/units.js';
import {
  type CreateOrder,
  type InstanceProvider,
  type Machine,
  ProviderError,
  type ProviderFactory,
  type ProviderTraits,
} from '../../provider.js';
import { providerCall } from '../provider-call.js';
import {
  choiceSetting,
  type ProviderSettings,
  readProviderSettings,
  textSetting,
  textsSetting,
} from '../provider-settings.js';
import { type ContainerSettings, containerNameOf, containerOf, joinFilesOf, LABELS, stateOf } from './container.js';
import { dockerFault, statusOf } from './docker-faults.js';

const SETTINGS = {
  image: { parse: textSetting, required: 'the name of an image with Berth in it, such as "registry.lab/berth:1"' },
  /** How `berth agent` is started in the image. */
  command: { parse: textsSetting },
  network: { parse: textSetting },
  mounts: { parse: mountsSetting },
  agentFlags: { parse: textsSetting },
  suspendBy: { parse: choiceSetting(['stop', 'pause']) },
  socket: { parse: textSetting },
} satisfies ProviderSettings;

interface Options extends ContainerSettings {
  readonly suspendBy: 'stop' | 'pause';
  readonly socketPath: string;
  readonly clock: Clock;
}

/** How long a container that somebody is just creating is waited for. */
const APPEARANCE = { tries: 40, pollMs: 50 } as const;

const SOCKET_URL = /^unix:\/\//;
const DEFAULT_SOCKET = '/var/run/docker.sock';

const TRAITS: Readonly<Record<Options['suspendBy'], ProviderTraits>> = {
  stop: {
    canSuspend: true,
    suspendedBilling: 'keeps its disk, and neither CPU nor memory',
    suspendedCountsInQuota: false,
    suspendKeepsMemory: false,
  },
  pause: {
    canSuspend: true,
    suspendedBilling: 'costs no CPU, but keeps its memory and disk',
    suspendedCountsInQuota: true,
    suspendKeepsMemory: true,
  },
};

/** Machines that are containers of one Docker daemon, with an agent each. */
export const dockerProvider: ProviderFactory = (settings, { environment, clock }) => {
  const given = readProviderSettings('docker', SETTINGS, settings);
  const socket = given.socket ?? environment.DOCKER_HOST ?? DEFAULT_SOCKET;
  return new DockerProvider({
    image: given.image,
    command: given.command ?? ['berth', 'agent'],
    network: given.network ?? 'bridge',
    mounts: given.mounts ?? [],
    agentFlags: given.agentFlags ?? [],
    suspendBy: given.suspendBy ?? 'stop',
    socketPath: socket.replace(SOCKET_URL, ''),
    clock,
  });
};

class DockerProvider implements InstanceProvider {
  readonly traits: ProviderTraits;
  readonly #options: Options;
  #engine: Promise<Docker> | undefined;

  constructor(options: Options) {
    this.#options = options;
    this.traits = TRAITS[options.suspendBy];
  }

  check(signal: AbortSignal): Promise<void> {
    return this.#call(signal, async (docker) => {
      const { image } = this.#options;
      try {
        await docker.getImage(image).inspect({ abortSignal: signal } as object);
      } catch (error) {
        if (statusOf(error) !== 404) throw error;
        throw new ProviderError('configuration', `image: "${image}" is not here; run docker pull ${image}`, error);
      }
    });
  }

  create(order: CreateOrder, signal: AbortSignal): Promise<{ readonly ref: string }> {
    return this.#call(signal, async (docker) => {
      const ref = containerNameOf(order);
      await ignoring([409], docker.createContainer({ ...containerOf(order, this.#options), abortSignal: signal }));
      const container = docker.getContainer(ref);
      const found = await this.#inspectNew(container, signal);
      if (found.Config.Labels[LABELS.cluster] !== order.cluster) {
        throw new ProviderError('configuration', `a container ${ref} is there that is not ours; remove or rename it`);
      }
      // Stopped containers were created long ago: only one that never ran is the rest of a failed call.
      if (found.State.Status !== 'created') return { ref };
      try {
        const { folder, archive } = joinFilesOf(order);
        await container.putArchive(archive, { path: folder, abortSignal: signal });
        await ignoring([304], container.start({ abortSignal: signal }));
      } catch (error) {
        const fault = dockerFault(error);
        // It will never start: there is to be no machine.
        if (fault instanceof ProviderError && fault.fault !== 'unavailable') await container.remove({ force: true });
        throw fault;
      }
      return { ref };
    });
  }

  list(cluster: string, signal: AbortSignal): Promise<readonly Machine[]> {
    return this.#call(signal, async (docker) => {
      const filters = { label: [`${LABELS.cluster}=${cluster}`] };
      const found = await docker.listContainers({ all: true, filters, abortSignal: signal });
      return found.map(({ Names, Labels, State }) => ({
        ref: (Names[0] ?? '').replace(/^\//, ''),
        instanceId: (Labels[LABELS.instance] ?? '') as InstanceId,
        pool: Labels[LABELS.pool] ?? '',
        state: stateOf(State),
      }));
    });
  }

  suspend(ref: string, signal: AbortSignal): Promise<void> {
    return this.#turn(ref, signal, async (container, status) => {
      if (stateOf(status) === 'suspended') return;
      if (this.#options.suspendBy === 'pause') await container.pause({ abortSignal: signal });
      else await ignoring([304], container.stop({ abortSignal: signal }));
    });
  }

  resume(ref: string, signal: AbortSignal): Promise<void> {
    return this.#turn(ref, signal, async (container, status) => {
      if (status === 'paused') await container.unpause({ abortSignal: signal });
      else await ignoring([304], container.start({ abortSignal: signal }));
    });
  }

  terminate(ref: string, signal: AbortSignal): Promise<void> {
    // 409: another removal is under way.
    return this.#call(signal, (docker) =>
      ignoring([404, 409], docker.getContainer(ref).remove({ force: true, v: true, abortSignal: signal })),
    );
  }

  /** Docker gives a name away a moment before there is a container of that name. */
  async #inspectNew(container: Docker.Container, signal: AbortSignal): Promise<Docker.ContainerInspectInfo> {
    for (let tries = 1; ; tries += 1) {
      try {
        return await container.inspect({ abortSignal: signal });
      } catch (error) {
        if (statusOf(error) !== 404) throw error;
        if (tries === APPEARANCE.tries) {
          throw new ProviderError('unavailable', `${container.id} is being made or removed; ask again`, error);
        }
      }
      await sleep(this.#options.clock, APPEARANCE.pollMs);
    }
  }

  #turn(
    ref: string,
    signal: AbortSignal,
    turn: (container: Docker.Container, status: string) => Promise<void>,
  ): Promise<void> {
    return this.#call(signal, async (docker) => {
      const container = docker.getContainer(ref);
      try {
        const { State } = await container.inspect({ abortSignal: signal });
        await turn(container, State.Status);
      } catch (error) {
        if (statusOf(error) !== 404) throw error;
        throw new ProviderError('not-found', `there is no machine ${ref}`, error);
      }
    });
  }

  #call<T>(signal: AbortSignal, call: (docker: Docker) => Promise<T>): Promise<T> {
    return providerCall(signal, async () => {
      try {
        return await call(await this.#open());
      } catch (error) {
        throw dockerFault(error);
      }
    });
  }

  /** The client is loaded by the first call: a coordinator whose pools are elsewhere does without. */
  #open(): Promise<Docker> {
    const { socketPath } = this.#options;
    this.#engine ??= import('dockerode').then(({ default: Client }) => new Client({ socketPath }));
    return this.#engine;
  }
}

/** These answers mean that it is so already. */
async function ignoring(statuses: readonly number[], call: Promise<unknown>): Promise<void> {
  try {
    await call;
  } catch (error) {
    if (!statuses.includes(statusOf(error) ?? 0)) throw error;
  }
}

const MOUNT = /^[^:]+:\/[^:]*(:(ro|rw))?$/;

function mountsSetting(given: unknown): readonly string[] | Unfit {
  const mounts = textsSetting(given);
  const strange = mounts instanceof Unfit ? undefined : mounts.find((mount) => !MOUNT.test(mount));
  return strange === undefined ? mounts : new Unfit(`${shown(strange)} is no mount; write "SOURCE:/TARGET:ro"`);
}
