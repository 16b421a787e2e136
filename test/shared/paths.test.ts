import t from 'tap';
import { globComplaint, globMatches } from '../../shared/glob.js';
import { overlaps, relativePathComplaint } from '../../shared/relative-path.js';

t.test('a relative path never leaves the folder that it is in', async (t) => {
  for (const path of ['a', 'a/b', '.a', '..a', 'a..', 'ä/ö', 'a b', `${'x'.repeat(255)}/y`]) {
    t.equal(relativePathComplaint(path), undefined, path);
  }
  const wrong = ['', '/', '/a', '..', '../a', 'a/..', 'a/../b', '.', './a', 'a//b', 'a/', 'a\\b', 'a\nb', 'a\0b'];
  for (const path of [...wrong, 'x'.repeat(256), 'a/'.repeat(300)]) t.type(relativePathComplaint(path), 'string', path);
});

t.test('paths overlap when one is in the other, whatever their case', async (t) => {
  t.ok(overlaps('a', 'a') && overlaps('a', 'a/b') && overlaps('A/b/c', 'a/B'));
  t.notOk(overlaps('a', 'ab') || overlaps('a/b', 'a/c'));
});

t.test('patterns match by parts', async (t) => {
  const table: [glob: string, matches: string[], others: string[]][] = [
    ['a', ['a', 'a/b', 'a/b/c'], ['ab', 'b/a']],
    ['*.nii', ['a.nii', 'b.c.nii'], ['d/a.nii', 'a.nii.gz', '.nii', 'anii']],
    ['r/*/x', ['r/1/x'], ['r/x', 'r/1/2/x', 'r/.1/x']],
    ['**', ['a', 'a/b'], ['.a', 'a/.b']],
    ['**/x', ['x', 'a/x', 'a/b/x'], ['x/a', '.a/x', 'ax']],
    ['a/**/b', ['a/b', 'a/c/b', 'a/c/d/b'], ['b', 'a/bc']],
    ['a/**', ['a/b', 'a/b/c'], ['b/a']],
    ['?', ['a', 'ä', '🚀'], ['ab', '.']],
    ['.*', ['.a'], ['a']],
    ['a+(b)[c]', ['a+(b)[c]'], ['aabc']],
  ];
  for (const [glob, matches, others] of table) {
    for (const path of matches) t.ok(globMatches(glob, path), `${glob} matches ${path}`);
    for (const path of others) t.notOk(globMatches(glob, path), `${glob} does not match ${path}`);
  }
  t.equal(globComplaint('a/**/b*'), undefined);
  t.match(globComplaint('a**'), /stands alone/);
  t.match(globComplaint('*'.repeat(9)), /more than|stands alone/);
});
