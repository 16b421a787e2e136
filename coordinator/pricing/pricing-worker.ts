import { parentPort, workerData } from 'node:worker_threads';
import { present } from '../../shared/assert.js';
import { priceResiduals, type SizeCount } from '../scheduler/worth/prices.js';

/** The thread of BackgroundPricing: finds the prices for the sizes that it was started with, and ends. */
const port = present(parentPort ?? undefined, 'parent port: this file runs in a worker thread');

port.postMessage(priceResiduals(workerData as readonly SizeCount[]));
