// Copies into build/ what tsc does not emit: the generated codec and the shell sources.
import { chmodSync, cpSync, mkdirSync, readdirSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = join(dirname(fileURLToPath(import.meta.url)), '..');
const shellSources = 'agent/driver/process';

mkdirSync(join(root, 'build', 'proto', 'gen'), { recursive: true });
cpSync(join(root, 'proto', 'gen'), join(root, 'build', 'proto', 'gen'), { recursive: true });
for (const file of readdirSync(join(root, shellSources))) {
  if (file.endsWith('.sh')) cpSync(join(root, shellSources, file), join(root, 'build', shellSources, file));
}
chmodSync(join(root, 'build', 'scripts', 'entry.js'), 0o755);
