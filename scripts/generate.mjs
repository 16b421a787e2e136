// Generates proto/gen/ from proto/*.proto: the static codec and its types.
import { execFileSync } from 'node:child_process';
import { mkdirSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = join(dirname(fileURLToPath(import.meta.url)), '..');
const pbjs = join(root, 'node_modules', 'protobufjs-cli', 'bin', 'pbjs');
const out = join(root, 'proto', 'gen');

mkdirSync(out, { recursive: true });
execFileSync(
  process.execPath,
  [
    pbjs,
    ...['-t', 'static-module', '-w', 'esm', '--dts', '--force-number'],
    ...['--no-verify', '--no-delimited', '--no-typeurl', '--no-service', '--no-convert'],
    ...['-o', join(out, 'agent.js'), join(root, 'proto', 'agent.proto')],
  ],
  { stdio: 'inherit' },
);
