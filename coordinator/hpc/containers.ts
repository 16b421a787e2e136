import { quote, quoteArgv } from './quote.js';

/** What a site has to run container images with, always as the user. */
export const CONTAINER_RUNTIMES = ['apptainer', 'singularity', 'podman', 'charliecloud'] as const;
export type ContainerRuntime = (typeof CONTAINER_RUNTIMES)[number];

export interface ContainerCommand {
  readonly runtime: ContainerRuntime;
  readonly image: string;
  /** Of variables that the task is to see. */
  readonly names: readonly string[];
  readonly hasGpus: boolean;
  /** Whether the task has secrets as files, in the folder BERTH_SECRETS_DIR. */
  readonly hasSecretFiles: boolean;
  /** Where the command starts, within the container; null for the workspace. */
  readonly workdir: string | null;
  /** A shell command within the container. */
  readonly command: string;
}

/** From TERM to KILL, well within the half minute that batch systems wait. */
const STOP_SECONDS = 5;

/** The shell command that runs a command in a container. The current folder is the workspace, which it sees. */
export function inContainer(container: ContainerCommand): string {
  const { runtime, image, names, hasGpus, hasSecretFiles, workdir, command } = container;
  const start = workdir === null ? `"${workspaceIn(runtime)}"` : quote(workdir);
  switch (runtime) {
    case 'apptainer':
    case 'singularity': {
      const gpus = hasGpus ? ' --nv' : '';
      const secrets = hasSecretFiles ? ` --bind "$BERTH_SECRETS_DIR:$BERTH_SECRETS_DIR:ro"` : '';
      return `${runtime} exec${gpus} --bind "$PWD"${secrets} --pwd ${start} ${quote(imageUrl(image))} ${command}`;
    }
    case 'podman': {
      const gpus = hasGpus ? ' --device nvidia.com/gpu=all' : '';
      // Without a value, podman takes the variable's own: nothing of it is in the arguments.
      const places = hasSecretFiles ? ['BERTH_WORKSPACE', 'BERTH_SECRETS_DIR'] : ['BERTH_WORKSPACE'];
      const env = [...names, ...places].map((name) => ` --env ${quote(name)}`).join('');
      const secrets = hasSecretFiles ? ` --volume "$BERTH_SECRETS_DIR:$BERTH_SECRETS_DIR:ro"` : '';
      const id = '--cidfile "$work/container.$index"';
      const run = `podman run --rm ${id}${gpus}${env} --volume "$PWD:$PWD"${secrets} --workdir ${start} --entrypoint '' ${quote(image)} ${command}`;
      return untilStopped(run, `podman rm --force --ignore --time ${STOP_SECONDS} ${id}`, '"$work/container.$index"');
    }
    case 'charliecloud': {
      const own = ` --bind "$PWD:${workspaceIn(runtime)}" --set-env=BERTH_WORKSPACE=${workspaceIn(runtime)}`;
      const secrets = hasSecretFiles ? ` --bind "$BERTH_SECRETS_DIR:/mnt/1" --set-env=BERTH_SECRETS_DIR=/mnt/1` : '';
      // It wants to know the user, and not every system tells a job.
      return `USER="\${USER:-$(id -un)}" ch-run${own}${secrets} --cd ${start} ${quote(image)} -- ${command}`;
    }
  }
}

/**
 * Podman's containers are no children of the job, so that nothing ends them with it; and a batch system that ends a job
 * ends the programs too by which podman passes signals on (seen at Slurm). So the job's shell stops its container itself.
 */
function untilStopped(run: string, remove: string, idFile: string): string {
  return `rm -f ${idFile}
${run} &
stop=
trap 'stop=1' TERM INT
wait $!
status=$?
while [ -z "$stop" ] && kill -0 $! 2>/dev/null; do
  wait $!
  status=$?
done
[ -z "$stop" ] || ${remove} >/dev/null 2>&1
(exit $status)`;
}

/** Where the workspace is within the container, as the shell outside of it writes that. */
export function workspaceIn(runtime: ContainerRuntime): string {
  // Charliecloud's images have this folder to mount at; the others make the one that is asked for.
  return runtime === 'charliecloud' ? '/mnt/0' : '$PWD';
}

/** A name as Docker has it is one of a registry; a path and a URL are as they are. */
function imageUrl(image: string): string {
  return image.startsWith('/') || image.includes('://') || image.endsWith('.sif') ? image : `docker://${image}`;
}

/** What a script's first line says, as words of a shell: on a disk that runs nothing, its file is read by that. */
export function interpreterOf(script: string): string {
  const line = (/^#!\s*([^\n]*)/.exec(script)?.[1] ?? '/bin/sh').trim();
  const [, program = '/bin/sh', argument] = /^(\S+)\s*(.*)$/.exec(line) ?? [];
  return quoteArgv(argument ? [program, argument] : [program]);
}
