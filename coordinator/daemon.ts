import { rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { backoffMs } from '../shared/backoff.js';
import { sleep, systemClock } from '../shared/clock.js';
import { AppError, isAppError, refuse } from '../shared/errors.js';
import type { Log } from '../shared/log.js';
import { systemRandom } from '../shared/random.js';
import { SystemdService } from '../shared/systemd.js';
import { isLoopback } from '../shared/transport.js';
import { VERSION } from '../shared/version.js';
import { FileArtifactStore } from './artifacts/file-artifact-store.js';
import type { CoordinatorConfig } from './config.js';
import { TaskLogs } from './gateway/task-logs.js';
import { openTokens } from './gateway/tokens.js';
import { attachAgentUpgrade } from './gateway/upgrade.js';
import type { Server } from './http/context.js';
import { buildServer } from './http/server.js';
import { aborted, Front, Life, type LifeOptions } from './life.js';
import { MachineRoom } from './machine-room.js';
import { BackgroundPricing } from './pricing/background-pricing.js';
import { SecretStore } from './secrets/secret-store.js';
import { readCertificate, readPublicCa } from './tls.js';

/** Pauses before the log is opened again after the store could not be written (P12). */
const REOPEN = { firstMs: 1_000, maxMs: 30_000, factor: 2 } as const;

/**
 * The coordinator, put together: a server that stays, and an engine that is replaced when its store fails.
 *
 * Resolves when `stop` is aborted and everything is closed. Rejects with `store-corrupt`, `state-dir-busy`, with
 * `invalid-request` when it cannot listen, and with a bug; then the process must end.
 */
export async function runCoordinator(config: CoordinatorConfig, log: Log, stop: AbortSignal): Promise<void> {
  const { stateDir, nodeLeaseMs, keepJobsMs, packing } = config;
  const base = { stateDir, clock: systemClock, random: systemRandom, log };
  const tokens = await openTokens(base);
  const secrets = await SecretStore.open({ ...base, keys: config.secretsKey });
  const limits = { ...config.limits, secretKeys: secrets.secretKeys };
  const logs = new TaskLogs({ ...base, maxStreamBytes: config.maxStreamBytes });
  const pricing = new BackgroundPricing({ log });
  const artifacts = await FileArtifactStore.open({ ...base, folder: join(stateDir, 'artifacts') });
  const front = new Front();
  const server = buildServer({
    service: () => front.service,
    authenticate: (token) => (tokens.isAdminToken(token) ? { name: 'admin' } : undefined),
    isAgentToken: (token) => tokens.isAgentToken(token) || tokens.tickets.nodeOf(token) !== undefined,
    version: VERSION,
    random: systemRandom,
    log,
    certificate: config.tls === null ? undefined : readCertificate(config.tls, log),
  });
  const { isAgentToken, tickets, cluster } = tokens;
  const detach = attachAgentUpgrade(server.server, { gateway: front, isAgentToken, tickets, log });
  const machines = new MachineRoom({
    ...{ ...base, cluster, tickets, pools: config.pools },
    secret: (name) => secretText(secrets.valueOf(PROVIDER_NAMESPACE, name)),
    environment: config.environment,
    url: () => config.publicUrl ?? addressOf(server),
    ca: config.publicCa === null ? null : readPublicCa(config.publicCa),
  });
  const targets = {
    ...{ cluster, version: VERSION, targets: config.targets, environment: config.environment },
    ...{ logs, artifacts, secrets, clock: systemClock, log },
  };
  try {
    const parts = {
      stateDir,
      nodeLeaseMs,
      keepJobsMs,
      limits,
      packing,
      pricing,
      secrets,
      logs,
      artifacts,
      front,
      machines,
      targets,
      log,
    };
    await live(parts, stop, () => serve(server, config, log));
  } finally {
    detach();
    await server.close();
    await logs.close();
    await pricing.close();
  }
}

/** Lives until `stop`: when the store fails, what memory ran ahead is thrown away and the log is read back. */
async function live(options: LifeOptions, stop: AbortSignal, begun: () => Promise<void>): Promise<void> {
  const { front, log } = options;
  for (let failureCount = 0; !stop.aborted; ) {
    const life = await beginOrFail(options);
    let failure = life instanceof AppError ? life : undefined;
    if (life instanceof Life) {
      try {
        // Only now, so that a process which must not run here never answers for the one that does.
        await begun();
        failureCount = 0;
        failure = await life.ended(stop);
      } finally {
        front.leave(refuse('shutting-down', 'the coordinator is stopping'));
        await life.close();
      }
    }
    if (!failure) return;
    failureCount += 1;
    front.leave(refuse('store-unavailable', failure.message, failure.hint === undefined ? {} : { hint: failure.hint }));
    const pauseMs = backoffMs(REOPEN, failureCount, systemRandom);
    log.error('the event store cannot be written; it will be opened again', { error: failure, pauseMs });
    await Promise.race([sleep(systemClock, pauseMs), aborted(stop)]);
  }
}

async function beginOrFail(options: LifeOptions): Promise<Life | AppError> {
  try {
    return await Life.begin(options);
  } catch (error) {
    if (isAppError(error, 'store-unavailable')) return error;
    throw error;
  }
}

async function serve(server: Server, config: CoordinatorConfig, log: Log): Promise<void> {
  const { host, port, stateDir, tls, service } = config;
  if (server.server.listening) return;
  if (tls === null && !isLoopback(host)) {
    log.warn('NOT ENCRYPTED: tokens, secrets and output can be read on the network; give --tls-cert and --tls-key', {
      host,
    });
  }
  try {
    const url = await server.listen({ host, port });
    await publish(join(stateDir, 'coordinator.json'), { url, pid: process.pid });
    log.info('coordinator is serving', { url, stateDir, version: VERSION });
    const manager = new SystemdService(service, { clock: systemClock, log, pid: process.pid });
    server.server.once('close', () => manager.stopping());
    manager.ready();
  } catch (cause) {
    throw new AppError('invalid-request', `cannot listen on ${host}:${port}: ${(cause as Error).message}`, {
      cause,
      hint: 'choose another address with --listen HOST:PORT',
    });
  }
}

/** Where the credentials of providers are kept, out of reach of jobs of other namespaces. */
const PROVIDER_NAMESPACE = 'system';

function secretText(value: Uint8Array | undefined): string | undefined {
  return value && Buffer.from(value).toString('utf8');
}

function addressOf({ listeningOrigin }: Server): string {
  return listeningOrigin;
}

/** Where clients of this machine find us; whole or not there. */
async function publish(path: string, document: { url: string; pid: number }): Promise<void> {
  await rm(path, { force: true });
  await writeFile(`${path}.new`, `${JSON.stringify(document)}\n`, { mode: 0o600 });
  await rename(`${path}.new`, path);
}
