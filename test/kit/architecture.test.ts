import t from 'tap';
import * as checks from './architecture-checks.js';
import { functionSizes, methodCount } from './architecture-sizes.js';
import { parseSource, type SourceFile } from './architecture-source.js';

// The architecture test would pass on anything if its checks were blind; here each sees the offence it is for.

const LAYERS: readonly checks.Layer[] = [
  { name: 'port', files: ['store/store.ts'], mayImport: [], nature: 'closed' },
  { name: 'store', files: ['store/'], mayImport: ['port'] },
  { name: 'rules', files: ['rules/'], mayImport: [], nature: 'pure' },
];

const messages = (offences: readonly checks.Offence[]): string[] => offences.map(({ message }) => message);
const sample = (text: string): SourceFile => parseSource('rules/sample.ts', text);

t.test('an import that the layers do not permit is an offence', async (t) => {
  const check = (path: string, text: string): string[] => messages(checks.checkLayers(LAYERS, parseSource(path, text)));
  t.same(check('store/sqlite.ts', "import type { A } from './store.js';\nimport fs from 'node:fs';"), []);
  t.same(check('rules/a.ts', "import { b } from './b.js';"), []);
  t.match(check('rules/a.ts', "import type { Store } from '../store/sqlite.js';"), [/rules may not import store/]);
  t.match(check('rules/a.ts', "export * from '../store/sqlite.js';"), [/may not import store/]);
  t.match(check('rules/a.ts', "const x = await import('../store/sqlite.js');"), [/may not import store/]);
  t.match(check('rules/a.ts', "let x: import('../store/sqlite.js').Row;"), [/may not import store/]);
  t.match(check('rules/a.ts', "import '../store/sqlite.js';"), [/may not import store/]);
  t.match(check('rules/a.ts', "import { readFileSync } from 'node:fs';"), [/may not import the package node:fs/]);
  t.match(check('elsewhere/a.ts', ''), [/belongs to no layer/]);
  t.match(check('rules/a.ts', "import { x } from '../elsewhere/x.js';"), [/belongs to no layer/]);
  t.same(check('rules/a.ts', "// import { x } from '../store/a.js'\nconst text = \"from '../store/a.js'\";"), []);
});

t.test('asynchronous code in a synchronous layer is an offence', async (t) => {
  const found = checks.checkSynchronous(LAYERS, sample('async function f(): Promise<void> { await g(); }'));
  t.same(found.length, 3);
  t.same(checks.checkSynchronous(LAYERS, parseSource('store/a.ts', 'async function f() {}')), []);
});

t.test('an import of a file that is not there, or by its source name, is an offence', async (t) => {
  const files = [
    parseSource('a.ts', "import './b.js';\nimport './c.js';\nimport './b.ts';\nimport './gen/wire.js';"),
    parseSource('b.ts', ''),
  ];
  const found = checks.checkTargets(files, (path) => path.startsWith('gen/'));
  t.same(messages(found), ['./c.js is no file of ours', './b.ts is no file of ours']);
});

t.test('import cycles are found, through types too', async (t) => {
  const a = parseSource('a.ts', "import { b } from './b.js';");
  const b = parseSource('b.ts', "import { c } from './c.js';");
  t.same(checks.findCycles([a, b, parseSource('c.ts', '')]), []);
  t.same(checks.findCycles([a, b, parseSource('c.ts', "import type { A } from './a.js';")]), [
    'a.ts -> b.ts -> c.ts -> a.ts',
  ]);
});

t.test('a forbidden global is found in code and not in prose or in names', async (t) => {
  const globals = ['Date.now', 'new Date()', 'setTimeout', 'process.env'].map((code) => ({ code, instead: 'a port' }));
  const count = (text: string): number => checks.checkGlobals(globals, sample(text)).length;
  t.equal(count('const at = Date.now();'), 1);
  t.equal(count('const at = new Date();'), 1);
  t.equal(count(`run(() => \`at \${Date.now()}\`);`), 1, 'inside a template');
  t.equal(count('const wait = setTimeout; process\n  .env.HOME;'), 2);
  t.equal(count("// Date.now()\nlog('Date.now()'); new Date(at); socket.setTimeout(5); clock.Date.now;"), 0);
});

t.test('any, enum, default export and the non-null bang are found, and their look-alikes are not', async (t) => {
  const found = (text: string): string[] => messages(checks.checkLanguage(sample(text)));
  t.same(found('let a: any; let b: Array<any>; c as any;').length, 3);
  t.same(found('const enum A { x }\nenum B { y }').length, 2);
  t.same(found('export default 5;').length, 1);
  t.same(found('a!.b; f()!; c[0]!; let d!: string;').length, 4);
  t.same(found("!a; a != b; a !== b; if (x) !y; return !z; f(!a); [!b]; '!'; /a!/.test(d);"), []);
  t.same(found(`const a = \`!\${!c}\`;`), []);
  t.same(found('#!/usr/bin/env node\nf();'), []);
  t.same(found("Promise.any(all); t.any(); { any: 1 }; x.enum; 'any'; // any\n"), []);
});

t.test('an unfinished mark needs an owner and a condition', async (t) => {
  const count = (text: string): number => checks.checkMarks(sample(text)).length;
  t.equal(count(`// ${'TO'}DO: later`), 1);
  t.equal(count(`/* ${'FIX'}ME */`), 1);
  t.equal(count(`// ${'TO'}DO(anna): drop when Node 20 is gone`), 0);
  t.equal(count('const mark = "todo";'), 0);
});

t.test('a file name in the wrong case or that says nothing is an offence', async (t) => {
  const count = (path: string): number => checks.checkFileName(['utils'], path).length;
  t.equal(count('rules/submitJob.ts'), 1);
  t.equal(count('rules/job-utils.ts'), 1);
  t.equal(count('rules/submit-job.test.ts'), 0);
});

t.test('functions of every form are measured, and other blocks are not', async (t) => {
  const body = '{\n  a();\n}';
  const counted = (text: string): number[] => functionSizes(sample(text)).map(({ lineCount }) => lineCount);
  for (const head of [
    'function f() ',
    'export async function* f<T>(a: T, b = g()): AsyncGenerator<Map<string, T>, void> ',
    'const f = () => ',
    'const f = (a: A): B => ',
    'function f(a: unknown): a is { b: string } | C ',
    'function f(a: unknown): asserts a is B ',
    'function f(): Promise<{ a: string; b: [C, D] }> ',
    'function f(): (a: A) => B ',
  ]) {
    t.same(counted(head + body), [3], head);
  }
  t.same(counted(`class A extends base(B) {\n  async #m(): Promise<void> ${body}\n\n  get x(): X ${body}\n}`), [3, 3]);
  t.same(
    counted(
      `if (a) ${body} else ${body}\nfor (const a of b) ${body}\nswitch (a) ${body}\ntry ${body} catch (e) ${body}`,
    ),
    [],
  );
  t.same(counted('const a = { b: (c), d: {\n} };\nclass A {\n}\ninterface B {\n}\nx = a ? f(b) : {\n};'), []);
});

t.test('the methods of an interface are counted, its data is not', async (t) => {
  const text = `interface Port { readonly size: number; open(): Promise<{ a(): void }>; read<T>(x: T): T;
    readonly isOpen?: boolean; close?(): void; onEnd: (x: X) => void; }`;
  t.equal(methodCount(sample(text), 'Port'), 4);
  t.equal(methodCount(sample(text), 'Other'), undefined);
});

t.test('text that cannot be read is refused and not passed over', async (t) => {
  t.throws(() => sample("const a = 'no end"), /rules\/sample\.ts.*line 1/);
  t.throws(() => sample('const a = `no ${end'), /no end/);
});
