import type { DriverName } from '../../job-spec/spec.js';
import type { Hello, Inventory } from '../messages.js';
import { gpuFromWire, gpuToWire, resourcesFromWire, resourcesToWire } from './amounts.js';
import * as field from './fields.js';
import type { WireHello, WireInventory } from './generated.js';
import { heldFromWire, heldToWire } from './reports.js';
import { volumesFromWire } from './staging.js';

export function helloToWire(hello: Hello): WireHello {
  const { nodeId, inventory, held, ...rest } = hello;
  return { ...rest, nodeName: nodeId, inventory: inventoryToWire(inventory), held: held.map(heldToWire) };
}

export function helloFromWire(hello: WireHello): Hello {
  return {
    protocol: field.count(hello.protocol, 'hello.protocol'),
    version: field.filled(hello.version, 'hello.version'),
    nodeId: field.nodeId(hello.nodeName, 'hello.nodeName'),
    identity: field.filled(hello.identity, 'hello.identity'),
    instance: field.filled(hello.instance, 'hello.instance'),
    bootId: field.filled(hello.bootId, 'hello.bootId'),
    inventory: inventoryFromWire(field.required(hello.inventory, 'hello.inventory'), 'hello.inventory'),
    held: field.each(hello.held, heldFromWire, 'hello.held'),
  };
}

export function inventoryToWire(inventory: Inventory): WireInventory {
  const { capacity, gpus, labels, attributes, drivers, address = '', volumes } = inventory;
  return {
    ...resourcesToWire(capacity),
    gpus: gpus.map(gpuToWire),
    labels: { ...labels },
    attributes: { ...attributes },
    drivers: [...drivers],
    address,
    volumes: [...(volumes ?? [])],
  };
}

export const DRIVERS: readonly DriverName[] = ['process', 'docker'];

export function inventoryFromWire(inventory: WireInventory, where: string): Inventory {
  const drivers = inventory.drivers ?? [];
  return {
    capacity: resourcesFromWire(inventory, where),
    gpus: field.each(inventory.gpus, gpuFromWire, `${where}.gpus`),
    labels: { ...inventory.labels },
    attributes: { ...inventory.attributes },
    // A newer agent may have drivers that this version never asks for.
    drivers: DRIVERS.filter((driver) => drivers.includes(driver)),
    ...(inventory.address ? { address: inventory.address } : {}),
    ...volumesFromWire(inventory),
  };
}
