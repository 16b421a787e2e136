import { mkdirSync, mkdtempSync, readdirSync, readFileSync, readlinkSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Api } from './api.js';
import { cellGroups, removeGroups } from './cells.js';
import { BERTH_ENTRY, type CommandOptions, type CommandResult, runCommand } from './command.js';
import { Daemon } from './daemon.js';
import { freePort } from './free-port.js';

export interface ClusterOptions {
  /** How many agents, named n1, n2, … One by default. */
  readonly agents?: number;
  /** CPUs that each agent claims; more than the machine has is allowed. */
  readonly cpus?: number;
  readonly memory?: string;
  /** Further flags of the coordinator; PORT stands for its own. */
  readonly coordinatorFlags?: readonly string[];
  /** Further flags of each agent; FOLDER stands for the cluster's own. */
  readonly agentFlags?: readonly string[];
  /** Further variables of the coordinator. */
  readonly coordinatorEnv?: Readonly<Record<string, string>>;
  /** How the agents keep tasks apart; not at all by default, so that tasks may use the cluster's folder. */
  readonly isolation?: 'full' | 'cgroup' | 'none';
}

/** A real coordinator and real agents on loopback, all of whose files lie under one temporary folder. */
export interface Cluster {
  readonly url: string;
  readonly token: string;
  /** The coordinator's state directory, as BERTH_STATE_DIR takes it. */
  readonly stateDir: string;
  /** The temporary folder of everything; tests may keep their own files in it. */
  readonly folder: string;
  readonly coordinator: Daemon;
  readonly agents: readonly Daemon[];
  readonly api: Api;
  /** Runs `berth ARGS` as the cluster's administrator. */
  berth(args: readonly string[], options?: CommandOptions): Promise<CommandResult>;
  /** Pids of processes besides the daemons that belong to this cluster: launchers and tasks. */
  leftovers(): readonly number[];
  /** Stops the daemons, kills what is left and removes the folder. */
  stop(): Promise<void>;
}

const DEFAULT_CPUS = 64;
const DEFAULT_MEMORY = '64GiB';

export async function startCluster(options: ClusterOptions = {}): Promise<Cluster> {
  const folder = mkdtempSync(join(tmpdir(), 'berth-cluster-'));
  const stateDir = join(folder, 'coordinator');
  const url = `http://127.0.0.1:${await freePort()}`;
  const coordinator = coordinatorDaemon(folder, url, options);
  const agents: Daemon[] = [];
  const stop = () => stopCluster(folder, [...agents, coordinator]);
  process.once('exit', () => killAll(folder, [...agents, coordinator]));
  try {
    await coordinator.start();
    const token = readFileSync(join(stateDir, 'admin.token'), 'utf8').trim();
    const api = new Api(url, token);
    for (let number = 1; number <= (options.agents ?? 1); number += 1) {
      agents.push(agentDaemon({ folder, stateDir, url, api, name: `n${number}`, options }));
    }
    await Promise.all(agents.map((agent) => agent.start()));
    return {
      ...{ url, token, stateDir, folder, coordinator, agents, api, stop },
      leftovers: () => processesOf(folder, [...agents, coordinator]),
      berth: (args, command = {}) =>
        runCommand([process.execPath, BERTH_ENTRY, ...args], {
          ...command,
          env: { ...daemonEnvironment(folder), BERTH_URL: url, BERTH_TOKEN: token, ...command.env },
        }),
    };
  } catch (error) {
    await stop();
    throw error;
  }
}

function coordinatorDaemon(
  folder: string,
  url: string,
  { coordinatorFlags = [], coordinatorEnv = {} }: ClusterOptions,
): Daemon {
  const { host, port } = new URL(url);
  const more = coordinatorFlags.map((flag) => flag.replaceAll('PORT', port));
  const flags = ['--state-dir', join(folder, 'coordinator'), '--listen', host, ...more];
  return new Daemon({
    name: 'coordinator',
    argv: [process.execPath, BERTH_ENTRY, 'coordinator', ...flags],
    env: { ...daemonEnvironment(folder), ...coordinatorEnv },
    logFile: join(folder, 'coordinator.log'),
    isReady: () => isServing(url),
  });
}

interface AgentParts {
  readonly folder: string;
  readonly stateDir: string;
  readonly url: string;
  readonly api: Api;
  readonly name: string;
  readonly options: ClusterOptions;
}

function agentDaemon(parts: AgentParts): Daemon {
  const { folder, stateDir, url, api, name, options } = parts;
  const flags = {
    '--state-dir': join(folder, name),
    '--url': url,
    '--token-file': join(stateDir, 'agent.token'),
    '--name': name,
    '--cpus': String(options.cpus ?? DEFAULT_CPUS),
    '--memory': options.memory ?? DEFAULT_MEMORY,
    '--isolation': options.isolation ?? 'none',
    '--docker-host': 'none',
  };
  const extra = (options.agentFlags ?? []).map((flag) => flag.replaceAll('FOLDER', folder));
  return new Daemon({
    name,
    argv: [process.execPath, BERTH_ENTRY, 'agent', ...Object.entries(flags).flat(), ...extra],
    env: daemonEnvironment(folder),
    logFile: join(folder, `${name}.log`),
    isReady: () => isNodeReady(api, name),
  });
}

/** Nothing of the developer's own environment reaches the programs: no BERTH_* setting, no home folder. */
function daemonEnvironment(folder: string): Record<string, string> {
  const home = join(folder, 'home');
  mkdirSync(home, { recursive: true });
  return { PATH: process.env.PATH ?? '/usr/bin:/bin', HOME: home, TMPDIR: folder };
}

async function isServing(url: string): Promise<boolean> {
  try {
    return (await fetch(`${url}/healthz`)).ok;
  } catch {
    return false;
  }
}

async function isNodeReady(api: Api, name: string): Promise<boolean> {
  try {
    return (await api.json<{ state: string }>('GET', `/v1/nodes/${name}`)).state === 'ready';
  } catch {
    return false;
  }
}

async function stopCluster(folder: string, daemons: readonly Daemon[]): Promise<void> {
  await Promise.all(daemons.map((daemon) => daemon.stop()));
  const agents = readdirSync(folder).map((name) => join(folder, name, 'process'));
  await removeGroups(agents.flatMap(cellGroups));
  killAll(folder, daemons);
  // A killed task may still be writing its last line into the folder.
  rmSync(folder, { recursive: true, force: true, maxRetries: 20, retryDelay: 50 });
}

function killAll(folder: string, daemons: readonly Daemon[]): void {
  for (const daemon of daemons) daemon.killNow();
  for (const pid of processesOf(folder, daemons)) killQuietly(pid);
}

function killQuietly(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL');
  } catch {
    // It ended between the listing and the kill.
  }
}

/** Processes that name the folder in their command line, working directory or environment. */
function processesOf(folder: string, daemons: readonly Daemon[]): number[] {
  const own = new Set([process.pid, ...daemons.filter((daemon) => daemon.isRunning).map((daemon) => daemon.pid)]);
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .map(Number)
    .filter((pid) => !own.has(pid) && mentions(pid, folder));
}

function mentions(pid: number, folder: string): boolean {
  const read = (part: string) => quietly(() => readFileSync(`/proc/${pid}/${part}`, 'utf8'));
  const cwd = quietly(() => readlinkSync(`/proc/${pid}/cwd`));
  return `${read('cmdline')}\n${read('environ')}\n${cwd}`.includes(folder);
}

function quietly(read: () => string): string {
  try {
    return read();
  } catch {
    return '';
  }
}
