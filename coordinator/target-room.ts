import type { Clock } from '../shared/clock.js';
import type { Log } from '../shared/log.js';
import type { ArtifactStore } from './artifacts/artifact-store.js';
import type { SecretSource } from './engine/grants.js';
import { HpcError } from './hpc/backend.js';
import { openBackend } from './hpc/backends/open-backend.js';
import { MirrorOperator, type MirrorOperatorOptions } from './hpc/operator/mirror-operator.js';
import type { OutputSink } from './hpc/operator/output.js';
import type { TargetsFile } from './hpc/read-targets.js';

export interface TargetRoomOptions {
  /** Of the configuration file. */
  readonly targets: TargetsFile;
  readonly cluster: string;
  readonly version: string;
  readonly secrets: SecretSource;
  readonly environment: Readonly<Record<string, string | undefined>>;
  readonly logs: OutputSink;
  readonly artifacts: ArtifactStore;
  readonly clock: Clock;
  readonly log: Log;
}

/** What programs of a batch system need of our own environment; jobs may inherit it, so it holds no secret. */
const PASSED_ON = /^(PATH|HOME|USER|LOGNAME|LANG|LC_[A-Z]+|TZ|SLURM_CONF|SGE_[A-Z_]+|KRB5CCNAME|XDG_RUNTIME_DIR)$/;

/** What speaks to remote batch systems, put together for an engine. */
export function operateTargets(options: TargetRoomOptions, engine: MirrorOperatorOptions['engine']): MirrorOperator {
  const { secrets, environment, targets, ...same } = options;
  const env = Object.fromEntries(
    Object.entries(environment).flatMap(([name, value]) =>
      PASSED_ON.test(name) && value !== undefined ? [[name, value] as const] : [],
    ),
  );
  return new MirrorOperator({
    ...same,
    ...{ engine, secrets, targets: targets.targets },
    open: (target, namespace) =>
      openBackend(target, {
        clock: options.clock,
        env,
        sshAgentSocket: environment.SSH_AUTH_SOCK,
        secret: async (name) => {
          const value = secrets.valueOf(namespace, name);
          if (value !== undefined) return Buffer.from(value).toString('utf8');
          throw new HpcError('credentials', `namespace ${namespace} has no secret "${name}"`);
        },
      }),
  });
}
