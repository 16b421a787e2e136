const MAX_CHARACTER_BYTES = 4;

/** How many bytes to take so that no character is cut in two; all of them when there is nothing but such a piece. */
export function wholeCharacters(bytes: Uint8Array): number {
  const from = Math.max(0, bytes.length - MAX_CHARACTER_BYTES + 1);
  for (let at = bytes.length - 1; at >= from; at -= 1) {
    const byte = bytes[at] ?? 0;
    if ((byte & 0xc0) === 0x80) continue;
    const length = lengthOf(byte);
    return at + length > bytes.length && at > 0 ? at : bytes.length;
  }
  return bytes.length;
}

/** Bytes of the character that begins with this one; 1 for what begins none. */
function lengthOf(byte: number): number {
  if (byte >= 0xf8) return 1;
  if (byte >= 0xf0) return 4;
  if (byte >= 0xe0) return 3;
  return byte >= 0xc0 ? 2 : 1;
}
