import type Docker from 'dockerode';
import type { ContainerInspectInfo } from 'dockerode';
import { faultKind } from './faults.js';

const ANSWER_MS = 2_000;

/** A client of the daemon behind a socket. Loaded only where it is used: it costs an agent 25 MiB. */
export async function openEngine(socketPath: string): Promise<Docker> {
  const { default: Client } = await import('dockerode');
  return new Client({ socketPath });
}

/** Who speaks Docker's API: Podman does, and has ways of its own. */
export type EngineKind = 'docker' | 'podman';

interface EngineInfo {
  readonly ServerVersion: string;
  readonly OSType: string;
  readonly CgroupVersion?: string;
  /** Podman's answer alone has it. */
  readonly BuildahVersion?: string;
}

/** Asks who the daemon is until it has answered once. */
export function engineKindOf(docker: Docker): () => Promise<EngineKind> {
  let known: EngineKind | undefined;
  return async () => {
    known ??= kindOf((await docker.info()) as EngineInfo);
    return known;
  };
}

/** Facts about the daemon as node attributes; undefined while it does not answer. */
export async function engineAttributes(docker: Docker): Promise<Readonly<Record<string, string>> | undefined> {
  // The client takes options here too, though its types do not say so.
  const info = docker.info.bind(docker) as (options: { abortSignal: AbortSignal }) => Promise<EngineInfo>;
  try {
    const answer = await info({ abortSignal: AbortSignal.timeout(ANSWER_MS) });
    const { ServerVersion, OSType, CgroupVersion } = answer;
    if (OSType !== 'linux') return undefined;
    return {
      [kindOf(answer) === 'podman' ? 'podmanVersion' : 'dockerVersion']: ServerVersion,
      ...(CgroupVersion ? { cgroup: `v${CgroupVersion}` } : {}),
    };
  } catch {
    return undefined;
  }
}

/** Undefined when there is no such container. */
export async function inspectContainer(docker: Docker, name: string): Promise<ContainerInspectInfo | undefined> {
  try {
    return await docker.getContainer(name).inspect();
  } catch (error) {
    if (faultKind(error) === 'absent') return undefined;
    throw error;
  }
}

function kindOf({ BuildahVersion }: EngineInfo): EngineKind {
  return BuildahVersion === undefined ? 'docker' : 'podman';
}
