import { Option } from 'commander';
import type { Context } from '../context.js';
import type { Finding } from '../doctor/finding.js';
import { EXIT } from '../exit-code.js';
import { examples, type Host } from '../host.js';

const FAILED = 1;

export function addDoctorCommand(host: Host): void {
  host.program
    .command('doctor')
    .summary('find out why something does not work')
    .description(
      'Look at this machine, at the way to the coordinator, and at its nodes. Changes nothing; exits with 1 on a failure.',
    )
    .addOption(new Option('-o, --output <format>', 'how to print it').choices(['table', 'json']).default('table'))
    .addHelpText('after', examples('berth doctor', 'berth doctor -o json'))
    .action(async ({ output }: { readonly output: string }) => host.exit(await examine(host.context, output)));
}

async function examine(context: Context, output: string): Promise<number> {
  const { checkMachine } = await import('../doctor/machine-checks.js');
  const { checkCoordinator } = await import('../doctor/coordinator-checks.js');
  const { checkVolumes } = await import('../doctor/volume-checks.js');
  const { searchPath, stateDir, defaultStateDirs, agentSettings: settings } = context.config;
  const stateDirs = [...(stateDir === undefined ? defaultStateDirs : [stateDir]), '/var/lib/berth-agent', '/tmp'];
  const machine = { root: '/', path: searchPath, stateDirs, clock: context.clock };
  const volumes = await checkVolumes({ settings, path: searchPath, clock: context.clock });
  const findings = [...(await checkMachine(machine)), ...volumes, ...(await checkCoordinator(context))];
  const hasFailed = findings.some(({ state }) => state === 'fail');
  context.out.write(
    output === 'json' ? `${JSON.stringify({ ok: !hasFailed, findings }, null, 2)}\n` : text(context, findings),
  );
  return hasFailed ? FAILED : EXIT.succeeded;
}

function text({ out: { colors } }: Context, findings: readonly Finding[]): string {
  const paint = { ok: colors.green, warn: colors.yellow, fail: colors.red };
  const width = Math.max(...findings.map(({ check }) => check.length));
  return findings
    .map(({ check, state, detail, fix }) => {
      const remedy = fix === undefined ? '' : `\n${' '.repeat(width + 8)}fix: ${fix}`;
      return `${paint[state](state.padEnd(4))}  ${check.padEnd(width)}  ${detail}${remedy}\n`;
    })
    .join('');
}
