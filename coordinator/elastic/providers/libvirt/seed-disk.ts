/** A file at the top of the disk. */
export interface SeedFile {
  readonly name: string;
  readonly content: string;
}

const SECTOR = 2_048;
const LABEL = 'cidata';
/** Sixteen sectors that belong to nobody, the descriptor, its end, two path tables, the folder; then the files. */
const FIRST = { descriptor: 16, end: 17, pathsLittle: 18, pathsBig: 19, folder: 20, files: 21 } as const;
const PATHS_BYTES = 10;

/**
 * A disk that cloud-init takes its data from (its source NoCloud): ISO 9660 with the label `cidata`.
 *
 * Source: ECMA-119. Names are kept as they are, in small letters and with a hyphen: Linux, the one reader, takes them so.
 */
export function seedDisk(files: readonly SeedFile[]): Buffer {
  let next: number = FIRST.files;
  const placed = files.map(({ name, content }) => {
    const bytes = Buffer.from(content);
    const at = next;
    next += Math.max(1, Math.ceil(bytes.length / SECTOR));
    return { name, bytes, at };
  });
  const disk = Buffer.alloc(next * SECTOR);
  const put = (part: Buffer, sector: number): void => void part.copy(disk, sector * SECTOR);
  put(descriptor(next), FIRST.descriptor);
  put(Buffer.from('\u00ffCD001\u0001', 'latin1'), FIRST.end);
  put(pathTable('LE'), FIRST.pathsLittle);
  put(pathTable('BE'), FIRST.pathsBig);
  const own = folderEntry('\u0000');
  const parent = folderEntry('\u0001');
  const entries = placed.map(({ name, bytes, at }) => entry({ name: `${name};1`, at, size: bytes.length, flags: 0 }));
  put(Buffer.concat([own, parent, ...entries]), FIRST.folder);
  for (const { bytes, at } of placed) put(bytes, at);
  return disk;
}

function descriptor(sectorCount: number): Buffer {
  const block = Buffer.alloc(SECTOR);
  block.write('\u0001CD001\u0001', 0, 'latin1');
  block.fill(' ', 8, 72);
  block.write(LABEL, 40, 'ascii');
  both32(block, sectorCount, 80);
  both16(block, 1, 120);
  both16(block, 1, 124);
  both16(block, SECTOR, 128);
  both32(block, PATHS_BYTES, 132);
  block.writeUInt32LE(FIRST.pathsLittle, 140);
  block.writeUInt32BE(FIRST.pathsBig, 148);
  folderEntry('\u0000').copy(block, 156);
  block.fill(' ', 190, 813);
  block.fill('0', 813, 881);
  // The four times are not given: sixteen zeros and a zone each.
  for (const at of [829, 846, 863, 880]) block.writeUInt8(0, at);
  block.writeUInt8(1, 881);
  return block;
}

/** The one folder, in the list of all folders. */
function pathTable(order: 'LE' | 'BE'): Buffer {
  const table = Buffer.alloc(PATHS_BYTES);
  table.writeUInt8(1, 0);
  if (order === 'LE') {
    table.writeUInt32LE(FIRST.folder, 2);
    table.writeUInt16LE(1, 6);
  } else {
    table.writeUInt32BE(FIRST.folder, 2);
    table.writeUInt16BE(1, 6);
  }
  return table;
}

const FOLDER_FLAG = 2;

function folderEntry(name: string): Buffer {
  return entry({ name, at: FIRST.folder, size: SECTOR, flags: FOLDER_FLAG });
}

interface EntryParts {
  readonly name: string;
  readonly at: number;
  readonly size: number;
  readonly flags: number;
}

function entry({ name, at, size, flags }: EntryParts): Buffer {
  const length = 33 + name.length + ((name.length + 1) % 2);
  const record = Buffer.alloc(length);
  record.writeUInt8(length, 0);
  both32(record, at, 2);
  both32(record, size, 10);
  // 1 January 2000: nobody asks.
  record.set([100, 1, 1, 0, 0, 0, 0], 18);
  record.writeUInt8(flags, 25);
  both16(record, 1, 28);
  record.writeUInt8(name.length, 32);
  record.write(name, 33, 'latin1');
  return record;
}

/** Numbers are there in both orders of bytes. */
function both32(target: Buffer, value: number, at: number): void {
  target.writeUInt32LE(value, at);
  target.writeUInt32BE(value, at + 4);
}

function both16(target: Buffer, value: number, at: number): void {
  target.writeUInt16LE(value, at);
  target.writeUInt16BE(value, at + 2);
}
