import { Unfit } from '../../shared/config.js';

export const DEFAULT_DOCKER_HOST = 'unix:///var/run/docker.sock';
export const DOCKER_PERMISSIONS = ['host-network', 'capabilities'] as const;
export type DockerPermission = (typeof DOCKER_PERMISSIONS)[number];

const SOCKET_URL = /^unix:\/\/(\/.+)$/;

/** A DOCKER_HOST of another kind is not for us: over a network a daemon would run containers on another machine. */
export function socketOf(host: string): string | null {
  return SOCKET_URL.exec(host)?.[1] ?? null;
}

export function parseDockerHost(value: string): string | Unfit {
  if (value === 'none' || SOCKET_URL.test(value)) return value;
  return new Unfit(`"${value}" is no socket of this machine; write unix:///PATH, or none`);
}

export function parseDockerNetwork(value: string): 'none' | 'bridge' | Unfit {
  return value === 'none' || value === 'bridge' ? value : new Unfit(`"${value}" is neither none nor bridge`);
}

export function parseDockerAllow(value: string): readonly DockerPermission[] | Unfit {
  const allowed = value.split('\n').map((word) => DOCKER_PERMISSIONS.find((name) => name === word) ?? word);
  const unknown = allowed.find((name) => !DOCKER_PERMISSIONS.some((known) => known === name));
  if (unknown !== undefined) return new Unfit(`"${unknown}" is not one of ${DOCKER_PERMISSIONS.join(', ')}`);
  return allowed as readonly DockerPermission[];
}
