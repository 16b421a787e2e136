import fc from 'fast-check';
import t from 'tap';
import { editDistance, suggest } from '../../shared/suggest.js';
import { formatBytes, formatDuration, parseBytes, parseCpus, parseDuration, parseMiB } from '../../shared/units.js';

t.test('a size is read in binary and in decimal units', async (t) => {
  const table: [string, number][] = [
    ['15GiB', 15 * 1024 ** 3],
    ['512MiB', 512 * 1024 ** 2],
    ['1.5TiB', 1.5 * 1024 ** 4],
    ['20GB', 20e9],
    ['3 kB', 3_000],
    ['100gib', 100 * 1024 ** 3],
    ['0B', 0],
    ['0.3B', 1],
  ];
  for (const [text, bytes] of table) t.equal(parseBytes(text), bytes, text);
});

t.test('a size without a certain unit is refused with the text to write', async (t) => {
  t.equal(parseBytes(15), '15 has no unit; write 15GiB');
  t.equal(parseBytes('15'), '15 has no unit; write 15GiB');
  t.equal(parseBytes('15G'), '"15G" is ambiguous; write 15GiB (or 15GB for powers of ten)');
  t.equal(parseBytes('15Mi'), '"15Mi" is ambiguous; write 15MiB (or 15MB for powers of ten)');
  for (const wrong of ['lots', '-1GiB', '1e3GiB', '', true, null, '999999999PiB']) t.type(parseBytes(wrong), 'string');
});

t.test('a demand is rounded up to whole MiB', async (t) => {
  t.equal(parseMiB('1B'), 1);
  t.equal(parseMiB('1GB'), 954);
  t.equal(parseMiB('1GiB'), 1024);
});

t.test('a duration is read with one or several units', async (t) => {
  const table: [string, number][] = [
    ['90s', 90_000],
    ['4m', 240_000],
    ['1h30m', 5_400_000],
    ['1h 30m', 5_400_000],
    ['2d', 172_800_000],
    ['500ms', 500],
    ['1.5h', 5_400_000],
    ['0s', 0],
  ];
  for (const [text, durationMs] of table) t.equal(parseDuration(text), durationMs, text);
});

t.test('a duration without unit, out of order or too fine is refused', async (t) => {
  t.equal(parseDuration(90), '90 has no unit; write 90s or 90m');
  t.equal(parseDuration('30m1h'), '"30m1h" is out of order; write larger units first, as in 1h30m');
  t.match(parseDuration('1m1m'), /out of order/);
  t.equal(parseDuration('0.5ms'), '"0.5ms" is finer than a millisecond');
  for (const wrong of ['soon', '-4m', '4 minutes', '', null, {}]) t.type(parseDuration(wrong), 'string');
});

t.test('cpus are numbers or numeric texts to the thousandth', async (t) => {
  const table: [unknown, number][] = [
    [2, 2_000],
    ['2', 2_000],
    [0.5, 500],
    ['250m', 250],
    [1.001, 1_001],
    [0.1, 100],
  ];
  for (const [value, millis] of table) t.equal(parseCpus(value), millis, String(value));
  t.match(parseCpus('0.0005'), /finer than a thousandth/);
  for (const wrong of [-1, Number.NaN, 'two', '', null, [2]]) t.type(parseCpus(wrong), 'string');
});

t.test('what is formatted is read back as the same number', async (t) => {
  const whole = fc.oneof(
    fc.nat(),
    fc.nat().map((count) => count * 1024 ** 2),
    fc.nat({ max: 1000 }).map((count) => count * 3_600_000),
  );
  t.doesNotThrow(() =>
    fc.assert(
      fc.property(whole, (number) => {
        return parseBytes(formatBytes(number)) === number && parseDuration(formatDuration(number)) === number;
      }),
    ),
  );
});

t.test('formatting picks the largest exact unit', async (t) => {
  t.equal(formatBytes(15 * 1024 ** 3), '15GiB');
  t.equal(formatBytes(1536 * 1024 ** 2), '1536MiB');
  t.equal(formatBytes(1_000), '1000B');
  t.equal(formatDuration(90_000), '90s');
  t.equal(formatDuration(86_400_000), '1d');
  t.equal(formatDuration(0), '0s');
});

t.test('a suggestion is near, and none is made for what is far', async (t) => {
  const fields = ['name', 'needs', 'memory', 'cpus', 'command', 'constraints'];
  t.equal(suggest('memroy', fields), 'memory');
  t.equal(suggest('cpu', fields), 'cpus');
  t.equal(suggest('Comand', fields), 'command');
  t.equal(suggest('mem', fields), 'memory');
  t.equal(suggest('con', ['constraints', 'constants']), undefined, 'two begin with it');
  t.equal(suggest('zebra', fields), undefined);
  t.equal(suggest('x', ['y']), undefined, 'one wrong letter of one is all of it');
  t.equal(suggest('m'.repeat(100_000), fields), undefined);
});

t.test('a swap of neighbours counts once', async (t) => {
  t.equal(editDistance('memroy', 'memory'), 1);
  t.equal(editDistance('kitten', 'sitting'), 3);
  t.equal(editDistance('', 'abc'), 3);
});
