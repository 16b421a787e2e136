import t from 'tap';
import { type ConfigSources, readSettings, type Settings, Unfit } from '../../shared/config.js';
import { isRefusal } from '../../shared/errors.js';

const SETTINGS = {
  stateDir: { parse: (text: string) => text, placeholder: 'DIR', help: 'a folder' },
  count: {
    parse: (text: string) => (/^\d+$/.test(text) ? Number(text) : new Unfit(`"${text}" is not a number`)),
    placeholder: 'N',
    help: 'a number',
  },
  label: { parse: (text: string) => text.split('\n'), placeholder: 'K=V', help: 'a label', isRepeatable: true },
} as const satisfies Settings;

function read(sources: Partial<ConfigSources>) {
  const given = readSettings(SETTINGS, { file: null, env: {}, argv: [], envPrefix: 'BERTH_X', ...sources });
  return isRefusal(given) ? given.problems?.map(({ field, message }) => `${field}: ${message}`) : given.values;
}

t.test('a flag wins over a variable, a variable over the file, and what is not given is absent', async (t) => {
  const file = { stateDir: 'file', count: 1 };
  t.strictSame(read({ file }), { stateDir: 'file', count: 1 });
  t.strictSame(read({ file, env: { BERTH_X_STATE_DIR: 'env' } }), { stateDir: 'env', count: 1 });
  t.strictSame(read({ file, env: { BERTH_X_STATE_DIR: 'env' }, argv: ['--state-dir', 'flag', '--count=2'] }), {
    stateDir: 'flag',
    count: 2,
  });
  t.strictSame(read({ env: { BERTH_X_STATE_DIR: '', OTHER: 'x' } }), {}, 'an empty variable says nothing');
});

t.test('a repeatable setting adds up as flags, and is a list or a map in the file', async (t) => {
  t.strictSame(read({ argv: ['--label', 'a=1', '--label', 'b=2'] }), { label: ['a=1', 'b=2'] });
  t.strictSame(read({ file: { label: { a: 1, b: 2 } } }), { label: ['a=1', 'b=2'] });
  t.strictSame(read({ file: { label: ['a=1'] }, argv: ['--label', 'b=2'] }), { label: ['b=2'] });
});

t.test('all problems are reported together, each by the name that the user gave it', async (t) => {
  t.strictSame(
    read({
      file: { stateDri: 'x', count: 'many' },
      env: { BERTH_X_COUNT: 'few' },
      argv: ['--stat-dir', 'x', '--count', 'some', '--label'],
    }),
    [
      'stateDri: unknown key; did you mean "stateDir"?',
      '--stat-dir: unknown flag; did you mean "--state-dir"?',
      '--label: it needs a value: --label K=V',
      'count: "many" is not a number',
      'BERTH_X_COUNT: "few" is not a number',
      '--count: "some" is not a number',
    ],
  );
  t.match(read({ file: ['x'] }), [/configuration file: it must hold keys and values/]);
});
