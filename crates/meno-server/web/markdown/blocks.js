// Parses Markdown into blocks with CommonMark's algorithm: each line is first matched against the open blocks, from the
// outermost to the innermost, then against the starts of new blocks; the rest is text. Supports GFM's tables and
// footnotes, and formulas on separate lines.

import { CONTINUES, lastOpen } from "./block-continuation.js";
import { FINISH } from "./block-ends.js";
import { STARTS } from "./block-starts.js";
import { Line } from "./line.js";

const MAX_DEPTH = 48; // nesting of containers; anything deeper is text
const LEAVES = new Set(["code", "html", "math"]); // blocks that take every line verbatim

/** Parses lines into blocks. Adds link definitions to `refs` by label; the first definition of a label wins. */
export function parseBlocks(lines, refs) {
  const parser = new BlockParser(lines, refs);
  lines.forEach((text, i) => parser.line(text, i));
  while (parser.tip) parser.close(parser.tip, lines.length - 1);
  return parser.root.children;
}

class BlockParser {
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
    this.addText(this.openBlocks(container, line), line);
  }

  /** Opens the blocks that begin on the line; returns the innermost. */
  openBlocks(outer, line) {
    let container = outer;
    while (container.depth < MAX_DEPTH && !LEAVES.has(container.type)) {
      let started = null;
      for (let i = 0; i < STARTS.length && !started; i += 1) started = STARTS[i](this, container, line);
      if (!started) break;
      container = started;
      if (!container.children) break;
    }
    return container;
  }

  addText(container, line) {
    const { tip } = this;
    if (!this.allClosed && !line.blank && tip.type === "paragraph") {
      tip.lines.push(line.content); // a lazy continuation line: the container markers are missing
      return;
    }
    this.closeUnmatched();
    if (LEAVES.has(container.type)) this.addVerbatim(container, line);
    else if (line.blank) return;
    else if (container.type === "table") container.rows.push(line.content);
    else if (container.type === "paragraph") container.lines.push(line.content);
    else this.add("paragraph", { lines: [line.content] });
  }

  addVerbatim(block, line) {
    if (block.fresh) {
      block.fresh = false; // the line with the fence itself
      return;
    }
    const text = line.rest();
    block.lines.push(text);
    if (block.type === "html" && block.ends?.test(text)) this.close(block, this.number);
    if (block.type === "math") this.closeMath(block, text);
  }

  // A formula ends on the line with its closing delimiter; text after it becomes a paragraph.
  closeMath(block, text) {
    const stop = text.indexOf(block.close, block.lines.length === 1 ? block.from : 0);
    if (stop < 0) return;
    const kept = block.close.startsWith("\\end") ? block.close : "";
    const rest = text.slice(stop + block.close.length).trim();
    block.lines[block.lines.length - 1] = text.slice(0, stop) + kept;
    block.finished = true;
    this.close(block, this.number);
    if (!/^[.,;:]*$/.test(rest)) this.add("paragraph", { lines: [rest] });
  }

  /** The index of the last line that contains `text`, or −1. */
  lastWith(text) {
    if (!this.found.has(text)) this.found.set(text, this.lines.findLastIndex((line) => line.includes(text)));
    return this.found.get(text);
  }

  /** Adds a block to the innermost open block that can contain it. */
  add(type, fields) {
    while (!canContain(this.tip, type)) this.close(this.tip, this.number - 1);
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

function canContain(block, type) {
  if (block.type === "list") return type === "item";
  return Boolean(block.children) && type !== "item";
}
