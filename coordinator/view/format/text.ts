/** Text on a terminal: how wide it is, and how to cut it without cutting a character in half. */

/** One grapheme at a time: an emoji with its modifiers is one place on the screen. */
const graphemes = new Intl.Segmenter('en', { granularity: 'grapheme' });
/** East Asian wide and fullwidth blocks, and what terminals show as an emoji. */
const WIDE =
  /[\u1100-\u115f\u2e80-\u303e\u3041-\ua4cf\ua960-\ua97c\uac00-\ud7a3\uf900-\ufaff\ufe30-\ufe6f\uff00-\uff60\uffe0-\uffe6\u{20000}-\u{3fffd}]|\p{Emoji_Presentation}/u;
const INVISIBLE = /^[\p{Mark}\p{Cf}]+$/u;
const ASCII = /^[\x20-\x7e]*$/;
/** Control characters of foreign text could move the cursor or hide what follows. */
const CONTROL = /\p{Cc}+/gu;
const ELLIPSIS = '…';

/** Columns that the text takes on a terminal. */
export function displayWidth(text: string): number {
  if (ASCII.test(text)) return text.length;
  let width = 0;
  for (const { segment } of graphemes.segment(text)) width += widthOf(segment);
  return width;
}

/** The text in at most `columns` columns, with an ellipsis where something is missing. */
export function truncate(text: string, columns: number): string {
  if (displayWidth(text) <= columns) return text;
  let kept = '';
  let width = 0;
  for (const { segment } of graphemes.segment(text)) {
    width += widthOf(segment);
    if (width > columns - 1) break;
    kept += segment;
  }
  return kept + ELLIPSIS;
}

export function padEnd(text: string, columns: number): string {
  return text + ' '.repeat(Math.max(0, columns - displayWidth(text)));
}

export function padStart(text: string, columns: number): string {
  return ' '.repeat(Math.max(0, columns - displayWidth(text))) + text;
}

/** One line without control characters. */
export function plainLine(text: string): string {
  return text.replace(CONTROL, ' ').trim();
}

function widthOf(grapheme: string): number {
  if (INVISIBLE.test(grapheme)) return 0;
  return WIDE.test(grapheme) ? 2 : 1;
}
