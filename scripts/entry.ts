#!/usr/bin/env node
/** The program `berth`: loads the one part that is asked for, and nothing else. */
type Main = (argv: readonly string[]) => Promise<number>;

const [word, ...rest] = process.argv.slice(2);

async function mainOf(): Promise<{ readonly main: Main; readonly argv: readonly string[] }> {
  switch (word) {
    case 'hpc':
      return { main: (await import('../coordinator/hpc/connector/main.js')).main, argv: rest };
    case 'agent':
      return { main: (await import('../agent/main.js')).main, argv: rest };
    case 'coordinator':
      return { main: (await import('../coordinator/main.js')).main, argv: rest };
    case 'simulate':
      return { main: (await import('../coordinator/simulate/main.js')).main, argv: rest };
    default:
      return { main: (await import('../coordinator/view/main.js')).main, argv: process.argv.slice(2) };
  }
}

const { main, argv } = await mainOf();
process.exitCode = await main(argv);
