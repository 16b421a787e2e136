/** What a file in an archive is like. */
export interface TarEntry {
  readonly name: string;
  readonly mode: number;
  readonly content: string;
}

const BLOCK = 512;
const SUM_AT = 148;
const SUM_LENGTH = 8;

/** A tar archive of small files of root's. Source: the ustar header of POSIX.1-1988. */
export function tarOf(entries: readonly TarEntry[]): Buffer {
  return Buffer.concat([...entries.map(recordOf), Buffer.alloc(2 * BLOCK)]);
}

function recordOf({ name, mode, content }: TarEntry): Buffer {
  const bytes = Buffer.from(content);
  const header = Buffer.alloc(BLOCK);
  const octal = (value: number, at: number, length: number): void => {
    header.write(value.toString(8).padStart(length - 1, '0'), at, 'ascii');
  };
  header.write(name, 0, 100, 'utf8');
  octal(mode, 100, 8);
  octal(0, 108, 8);
  octal(0, 116, 8);
  octal(bytes.length, 124, 12);
  octal(0, 136, 12);
  header.write('0', 156, 'ascii');
  header.write('ustar\u000000', 257, 'ascii');
  // The sum is of the header as it is with spaces in the sum's own place.
  header.fill(' ', SUM_AT, SUM_AT + SUM_LENGTH);
  const sum = header.reduce((total, byte) => total + byte, 0);
  header.write(`${sum.toString(8).padStart(6, '0')}\u0000 `, SUM_AT, 'ascii');
  const padding = Buffer.alloc((BLOCK - (bytes.length % BLOCK)) % BLOCK);
  return Buffer.concat([header, bytes, padding]);
}
