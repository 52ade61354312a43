// The blocks of a Markdown text, by CommonMark's own algorithm: every line is first offered to the blocks that are open,
// from the outermost to the innermost, then tried as the beginning of new ones; what is left is text. With GFM's tables
// and footnotes, and formulas that have their lines to themselves.

import { takeDefinition } from "./links.js";
import { cells, isDelimiterRow, alignments } from "./tables.js";

const FENCE = /^(`{3,}(?=[^`]*$)|~{3,})/;
const HEADING = /^(#{1,6})(?:[ \t]+|$)/;
const RULE = /^([-*_])(?:[ \t]*\1){2,}[ \t]*$/;
const SETEXT = /^(=+|-+)[ \t]*$/;
const MARKER = /^(?:([-*+])|(\d{1,9})([.)]))(?=[ \t]|$)/;
const FOOTNOTE = /^\[\^([^\]\s[]{1,64})\]:(?:[ \t]+|$)/;
const MATH = /^(\$\$|\\\[|\\begin\{(?:equation|align|alignat|gather|multline|eqnarray|cases|[pbBvV]?matrix)\*?\})/;
const MAX_DEPTH = 48; // of containers inside each other; deeper ones are text

// CommonMark's seven kinds of HTML blocks: how they begin, and how they end.
const HTML = [
  [/^<(?:script|pre|textarea|style)(?:\s|>|$)/i, /<\/(?:script|pre|textarea|style)>/i],
  [/^<!--/, /-->/],
  [/^<[?]/, /\?>/],
  [/^<![A-Za-z]/, />/],
  [/^<!\[CDATA\[/, /\]\]>/],
  [/^<\/?(?:address|article|aside|base|basefont|blockquote|body|caption|center|col|colgroup|dd|details|dialog|dir|div|dl|dt|fieldset|figcaption|figure|footer|form|frame|frameset|h[1-6]|head|header|hr|html|iframe|legend|li|link|main|menu|menuitem|nav|noframes|ol|optgroup|option|p|param|search|section|summary|table|tbody|td|tfoot|th|thead|title|tr|track|ul)(?:\s|\/?>|$)/i, null],
  [/^(?:<[a-z][a-z0-9-]*(?:\s+[a-z_:][\w.:-]*(?:\s*=\s*(?:[^"'=<>`\s]+|'[^']*'|"[^"]*"))?)*\s*\/?>|<\/[a-z][a-z0-9-]*\s*>)\s*$/i, null],
];

const LEAVES = new Set(["code", "html", "math"]); // blocks that take every line as it stands

/** A line and how far it was read. A tab is as wide as the way to the next multiple of four. */
class Line {
  constructor(text) {
    Object.assign(this, { text, at: 0, column: 0, split: false });
    this.look();
  }

  look() {
    let column = this.column;
    let i = this.at;
    for (; this.text[i] === " " || this.text[i] === "\t"; i += 1) column += this.text[i] === " " ? 1 : 4 - (column % 4);
    this.next = i;
    this.indent = column - this.column;
    this.blank = i === this.text.length;
    return this;
  }

  get code() {
    return this.indent >= 4;
  }

  /** The text behind the indentation. */
  get words() {
    return this.text.slice(this.next);
  }

  skipIndent() {
    this.column += this.indent;
    this.at = this.next;
    this.split = false;
    return this.look();
  }

  skip(characters) {
    this.at += characters;
    this.column += characters;
    this.split = false;
    return this.look();
  }

  /** Goes `columns` on, maybe to the middle of a tab. */
  skipColumns(columns) {
    for (let left = columns; left > 0 && this.at < this.text.length; ) {
      const width = this.text[this.at] === "\t" ? 4 - (this.column % 4) : 1;
      this.split = width > left;
      this.column += Math.min(width, left);
      if (!this.split) this.at += 1;
      left -= width;
    }
    return this.look();
  }

  rest() {
    return this.split ? " ".repeat(4 - (this.column % 4)) + this.text.slice(this.at + 1) : this.text.slice(this.at);
  }
}

/** Whether an open block continues in this line; `null` when the line closes it. */
const CONTINUES = {
  quote(_, line) {
    if (line.code || line.words[0] !== ">") return false;
    afterMark(line.skipIndent().skip(1));
    return true;
  },
  list: () => true,
  item(block, line) {
    if (line.blank) {
      block.gap = true;
      line.skipIndent();
      return block.children.length > 0;
    }
    if (line.indent >= block.width) line.skipColumns(block.width);
    else if (shallow(block, line)) line.skipColumns(line.indent);
    else return false;
    block.gap = false;
    return true;
  },
  note(_, line) {
    if (!line.blank && !line.code) return false;
    line.skipColumns(4);
    return true;
  },
  heading: () => false,
  rule: () => false,
  paragraph: (_, line) => !line.blank,
  table: (_, line) => !line.blank,
  html: (block, line) => Boolean(block.ends) || !line.blank,
  code(block, line) {
    if (block.fence) {
      const close = !line.code && /^(?:`{3,}|~{3,})(?=[ \t]*$)/.exec(line.words);
      if (close && close[0][0] === block.fence[0] && close[0].length >= block.fence.length) return null;
      line.skipColumns(Math.min(line.indent, block.indent));
      return true;
    }
    if (line.code) line.skipColumns(4);
    else if (line.blank) line.skipIndent();
    else return false;
    return true;
  },
  math(block, line) {
    if (!line.blank || block.open !== "$$" || block.lines.some((text) => text.trim())) return true;
    // Two dollars and an empty line begin no formula.
    Object.assign(block, { type: "paragraph", lines: ["$$"] });
    return false;
  },
};

// A mark is followed by at most one column of space that is its own.
function afterMark(line) {
  if (line.indent > 0) line.skipColumns(1);
}

// Models indent by two spaces what belongs under "1." or "10.", which CommonMark wants further in: a list, code, or
// anything after an empty line.
function shallow(item, line) {
  if (!item.ordered || line.indent < item.offset + 2 || line.code) return false;
  const inner = deepest(item);
  if (inner.type === "code" && inner.fence) return true;
  const marker = MARKER.exec(line.words);
  if (marker) return marker[1] !== undefined || Number.parseInt(marker[2], 10) === 1;
  return item.gap || FENCE.test(line.words);
}

function deepest(block) {
  let at = block;
  for (let child = lastOpen(at); child; child = lastOpen(at)) at = child;
  return at;
}

function lastOpen(block) {
  const child = block.children?.[block.children.length - 1];
  return child?.isOpen ? child : null;
}

/** Reads the blocks of `lines`. Link definitions go into `refs`, by their labels; the first of a label holds. */
export function readBlocks(lines, refs) {
  const reader = new Reader(lines, refs);
  lines.forEach((text, i) => reader.line(text, i));
  while (reader.tip) reader.close(reader.tip, lines.length - 1);
  return reader.root.children;
}

class Reader {
  constructor(lines, refs) {
    Object.assign(this, { lines, refs, found: new Map() });
    this.root = { type: "document", children: [], isOpen: true, parent: null, depth: 0 };
    this.tip = this.root;
  }

  line(text, number) {
    const line = new Line(text);
    this.number = number;
    let container = this.root;
    for (let child = lastOpen(container); child; child = lastOpen(container)) {
      const continued = CONTINUES[child.type](child, line);
      if (continued === null) return this.close(child, number);
      if (!continued) break;
      container = child;
    }
    this.matched = container;
    this.allClosed = container === this.tip;
    this.text(this.begin(container, line), line);
  }

  /** Opens the blocks that begin in the line; gives the innermost. */
  begin(outer, line) {
    let container = outer;
    while (container.depth < MAX_DEPTH && !LEAVES.has(container.type)) {
      let made = null;
      for (let i = 0; i < STARTS.length && !made; i += 1) made = STARTS[i](this, container, line);
      if (!made) break;
      container = made;
      if (!container.children) break;
    }
    return container;
  }

  text(container, line) {
    const { tip } = this;
    if (!this.allClosed && !line.blank && tip.type === "paragraph") {
      tip.lines.push(line.words); // a lazy line: its containers' marks were left out
      return;
    }
    this.closeUnmatched();
    if (LEAVES.has(container.type)) this.raw(container, line);
    else if (line.blank) return;
    else if (container.type === "table") container.rows.push(line.words);
    else if (container.type === "paragraph") container.lines.push(line.words);
    else this.add("paragraph", { lines: [line.words] });
  }

  raw(block, line) {
    if (block.fresh) {
      block.fresh = false; // the line of a fence itself
      return;
    }
    const text = line.rest();
    block.lines.push(text);
    if (block.type === "html" && block.ends?.test(text)) this.close(block, this.number);
    if (block.type === "math") this.mathLine(block, text);
  }

  // A formula ends in the line that holds its end; words behind it are a paragraph.
  mathLine(block, text) {
    const stop = text.indexOf(block.close, block.lines.length === 1 ? block.from : 0);
    if (stop < 0) return;
    const kept = block.close.startsWith("\\end") ? block.close : "";
    const rest = text.slice(stop + block.close.length).trim();
    block.lines[block.lines.length - 1] = text.slice(0, stop) + kept;
    block.finished = true;
    this.close(block, this.number);
    if (!/^[.,;:]*$/.test(rest)) this.add("paragraph", { lines: [rest] });
  }

  /** The number of the last line that holds `text`, or −1. */
  lastWith(text) {
    if (!this.found.has(text)) this.found.set(text, this.lines.findLastIndex((line) => line.includes(text)));
    return this.found.get(text);
  }

  /** Puts a block into the innermost open one that can hold it. */
  add(type, fields) {
    while (!holds(this.tip, type)) this.close(this.tip, this.number - 1);
    const block = { type, parent: this.tip, isOpen: true, start: this.number, end: this.number, depth: this.tip.depth + 1, ...fields };
    this.tip.children.push(block);
    this.tip = block;
    return block;
  }

  closeUnmatched() {
    while (!this.allClosed && this.tip !== this.matched) this.close(this.tip, this.number - 1);
    this.allClosed = true;
  }

  close(block, end) {
    while (this.tip !== block) this.close(this.tip, end);
    Object.assign(block, { isOpen: false, end });
    FINISH[block.type]?.(block, this.refs);
    this.tip = block.parent;
  }
}

function holds(block, type) {
  if (block.type === "list") return type === "item";
  return Boolean(block.children) && type !== "item";
}

function remove(block) {
  const { children } = block.parent;
  children.splice(children.indexOf(block), 1);
}

// ---- how blocks begin: each gives the block that begins here, or null ----------------------------------------------

const STARTS = [startQuote, startHeading, startCode, startHtml, startMath, startTable, startSetext, startRule, startNote, startItem, startIndented];

const toEnd = (line) => line.skip(line.text.length - line.at);

function startQuote(reader, _, line) {
  if (line.code || line.words[0] !== ">") return null;
  reader.closeUnmatched();
  afterMark(line.skipIndent().skip(1));
  return reader.add("quote", { children: [] });
}

function startHeading(reader, _, line) {
  const heading = !line.code && HEADING.exec(line.words);
  if (!heading) return null;
  reader.closeUnmatched();
  const text = line.words.slice(heading[0].length).replace(/^[ \t]*#+[ \t]*$/, "").replace(/[ \t]+#+[ \t]*$/, "").trim();
  toEnd(line);
  return reader.add("heading", { level: heading[1].length, text });
}

function startCode(reader, _, line) {
  const fence = !line.code && FENCE.exec(line.words);
  if (!fence) return null;
  reader.closeUnmatched();
  const info = line.words.slice(fence[0].length).trim();
  const { indent } = line;
  toEnd(line);
  return reader.add("code", { fence: fence[0], indent, info, lines: [], fresh: true });
}

function startHtml(reader, container, line) {
  if (line.code || line.words[0] !== "<") return null;
  const kind = HTML.findIndex(([begins]) => begins.test(line.words));
  if (kind < 0) return null;
  const lazy = !reader.allClosed && reader.tip.type === "paragraph";
  if (kind === 6 && (lazy || container.type === "paragraph" || container.type === "table")) return null;
  reader.closeUnmatched();
  return reader.add("html", { ends: HTML[kind][1], lines: [] });
}

function startMath(reader, _, line) {
  const math = !line.code && MATH.exec(line.words);
  if (!math) return null;
  const [open] = math;
  const close = open === "$$" ? "$$" : open === "\\[" ? "\\]" : open.replace("begin", "end");
  const keep = open.startsWith("\\b");
  const inner = line.words.slice(open.length);
  const stop = inner.indexOf(close);
  // "\\[a](b)" is an escaped bracket, unless the formula's end comes later.
  if (stop < 0 && open === "\\[" && inner.includes("]") && reader.lastWith(close) <= reader.number) return null;
  // Words behind a formula of one line make it part of a paragraph; nothing between two marks is no formula.
  if (stop >= 0 && (!/^[ \t.,;:]*$/.test(inner.slice(stop + close.length)) || inner.slice(0, stop).trim() === "")) return null;
  reader.closeUnmatched();
  line.skipIndent();
  if (!keep) line.skip(open.length);
  return reader.add("math", { open, close, from: keep ? open.length : 0, lines: [], finished: false });
}

function startTable(reader, container, line) {
  if (line.code || container.type !== "paragraph" || !reader.allClosed || !isDelimiterRow(line.words)) return null;
  const head = container.lines[container.lines.length - 1];
  const align = alignments(line.words);
  if (!head.includes("|") || cells(head).length !== align.length) return null;
  container.lines.pop();
  const { length } = container.lines;
  reader.close(container, reader.number - 2);
  if (length === 0 && container.parent.children.includes(container)) remove(container);
  toEnd(line);
  return Object.assign(reader.add("table", { align, head, rows: [] }), { start: reader.number - 1 });
}

function startSetext(reader, container, line) {
  const setext = !line.code && container.type === "paragraph" && reader.allClosed && SETEXT.exec(line.words);
  if (!setext) return null;
  takeDefinitions(container, reader.refs);
  if (container.lines.length === 0) return null;
  const text = container.lines.map((l) => l.trim()).join("\n");
  toEnd(line);
  return Object.assign(container, { type: "heading", level: setext[1][0] === "=" ? 1 : 2, text });
}

function startRule(reader, _, line) {
  if (line.code || !RULE.test(line.words)) return null;
  reader.closeUnmatched();
  toEnd(line);
  return reader.add("rule", {});
}

function startNote(reader, _, line) {
  const note = !line.code && FOOTNOTE.exec(line.words);
  if (!note) return null;
  reader.closeUnmatched();
  line.skipIndent().skip(note[0].length);
  return reader.add("note", { label: note[1], children: [] });
}

function startItem(reader, container, line) {
  const marker = !line.code && MARKER.exec(line.words);
  if (!marker) return null;
  const number = marker[2] === undefined ? null : Number.parseInt(marker[2], 10);
  // An empty item, or one that does not begin at one, does not break a paragraph.
  if (container.type === "paragraph" && (line.words.slice(marker[0].length).trim() === "" || (number !== null && number !== 1))) return null;
  reader.closeUnmatched();
  const offset = line.indent;
  line.skipIndent().skip(marker[0].length);
  const gap = line.blank || line.indent > 4 || line.indent < 1 ? 1 : line.indent;
  line.skipColumns(Math.min(gap, line.indent));
  const kind = marker[1] ?? marker[3];
  if (reader.tip.type !== "list" || reader.tip.kind !== kind) reader.add("list", { kind, ordered: number !== null, first: number ?? 1, children: [] });
  return reader.add("item", { width: offset + marker[0].length + gap, offset, ordered: number !== null, gap: false, children: [] });
}

function startIndented(reader, container, line) {
  if (!line.code || line.blank || reader.tip.type === "paragraph" || container.type === "table") return null;
  reader.closeUnmatched();
  line.skipColumns(4);
  return reader.add("code", { fence: null, info: "", lines: [] });
}

// ---- how they end -----------------------------------------------------------------------------------------------

function takeDefinitions(block, refs) {
  let text = block.lines.join("\n");
  for (let taken = takeDefinition(text, refs); taken > 0; taken = takeDefinition(text, refs)) text = text.slice(taken);
  block.lines = text.trim() === "" ? [] : text.split("\n");
}

const FINISH = {
  paragraph(block, refs) {
    if (block.lines[0]?.[0] === "[") takeDefinitions(block, refs);
    if (block.lines.length === 0) remove(block);
  },
  code(block) {
    if (block.fence) return;
    while (block.lines.length && block.lines[block.lines.length - 1].trim() === "") block.lines.pop();
    block.end = block.start + block.lines.length - 1;
  },
  item(block) {
    block.end = block.children[block.children.length - 1]?.end ?? block.start;
  },
  list(block) {
    const gap = (all) => all.some((child, i) => i + 1 < all.length && child.end + 1 !== all[i + 1].start);
    block.loose = gap(block.children) || block.children.some((item) => gap(item.children));
    block.end = block.children[block.children.length - 1].end;
  },
};
