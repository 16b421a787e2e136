import { XMLParser } from 'fast-xml-parser';

/** An element of a page. What is missing is an empty element, so that a reader may follow any path. */
export class PageElement {
  readonly #content: unknown;

  constructor(content: unknown) {
    this.#content = content;
  }

  /** The first child of that name. */
  child(...path: readonly string[]): PageElement {
    let content = this.#content;
    for (const name of path) content = first(childrenOf(content)[name]);
    return new PageElement(content);
  }

  /** All children of that name, in their order. */
  children(name: string): readonly PageElement[] {
    return listOf(childrenOf(this.#content)[name]).map((content) => new PageElement(content));
  }

  /** Every child with its name. */
  entries(): readonly (readonly [string, PageElement])[] {
    return Object.entries(childrenOf(this.#content)).map(([name, content]) => [name, new PageElement(first(content))]);
  }

  /** Its text; null when there is none, or one of the ways to say so. */
  text(...path: readonly string[]): string | null {
    const content = this.child(...path).#content;
    const text = typeof content === 'string' ? content : childrenOf(content)[TEXT];
    if (typeof text !== 'string' || text.trim() === '' || NOTHING.test(text.trim())) return null;
    return text.trim();
  }

  attribute(name: string): string | null {
    const value = childrenOf(this.#content)[`${ATTRIBUTE}${name}`];
    return typeof value === 'string' && value !== '' ? value : null;
  }
}

const TEXT = '#text';
const ATTRIBUTE = '@';
/** How nvidia-smi says that there is no answer. */
const NOTHING =
  /^\[?(N\/A|Not Supported|Not Available|Not Found|Insufficient Permissions|Requested functionality has been deprecated)\]?$/i;

/**
 * The page's root element; null for what is no whole page of that root: cut short, garbage, or another document.
 *
 * Text around the page, such as a warning on the same stream, is passed over.
 */
export function parsePage(text: string, root: string): PageElement | null {
  const start = text.search(new RegExp(`<${root}[\\s>]`));
  const closing = `</${root}>`;
  const end = text.lastIndexOf(closing);
  if (start < 0 || end < start) return null;
  try {
    const parser = new XMLParser({ ignoreAttributes: false, attributeNamePrefix: ATTRIBUTE, parseTagValue: false });
    const tree: unknown = parser.parse(text.slice(start, end + closing.length), true);
    return new PageElement(first(childrenOf(tree)[root]));
  } catch {
    return null;
  }
}

function childrenOf(content: unknown): Readonly<Record<string, unknown>> {
  return typeof content === 'object' && content !== null ? (content as Record<string, unknown>) : {};
}

function listOf(content: unknown): readonly unknown[] {
  if (content === undefined) return [];
  return Array.isArray(content) ? content : [content];
}

function first(content: unknown): unknown {
  return Array.isArray(content) ? content[0] : content;
}
