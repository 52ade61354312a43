// How blocks begin.

import { removeBlock, takeDefinitions } from "./block-ends.js";
import { alignments, cells, isDelimiterRow } from "./tables.js";

export const FENCE = /^(`{3,}(?=[^`]*$)|~{3,})/;
export const MARKER = /^(?:([-*+])|(\d{1,9})([.)]))(?=[ \t]|$)/;
const HEADING = /^(#{1,6})(?:[ \t]+|$)/;
const RULE = /^([-*_])(?:[ \t]*\1){2,}[ \t]*$/;
const SETEXT = /^(=+|-+)[ \t]*$/;
const FOOTNOTE = /^\[\^([^\]\s[]{1,64})\]:(?:[ \t]+|$)/;
const MATH = /^(\$\$|\\\[|\\begin\{(?:equation|align|alignat|gather|multline|eqnarray|cases|[pbBvV]?matrix)\*?\})/;

// CommonMark's seven kinds of HTML blocks: [start, end].
const HTML = [
  [/^<(?:script|pre|textarea|style)(?:\s|>|$)/i, /<\/(?:script|pre|textarea|style)>/i],
  [/^<!--/, /-->/],
  [/^<[?]/, /\?>/],
  [/^<![A-Za-z]/, />/],
  [/^<!\[CDATA\[/, /\]\]>/],
  [/^<\/?(?:address|article|aside|base|basefont|blockquote|body|caption|center|col|colgroup|dd|details|dialog|dir|div|dl|dt|fieldset|figcaption|figure|footer|form|frame|frameset|h[1-6]|head|header|hr|html|iframe|legend|li|link|main|menu|menuitem|nav|noframes|ol|optgroup|option|p|param|search|section|summary|table|tbody|td|tfoot|th|thead|title|tr|track|ul)(?:\s|\/?>|$)/i, null],
  [/^(?:<[a-z][a-z0-9-]*(?:\s+[a-z_:][\w.:-]*(?:\s*=\s*(?:[^"'=<>`\s]+|'[^']*'|"[^"]*"))?)*\s*\/?>|<\/[a-z][a-z0-9-]*\s*>)\s*$/i, null],
];

/**
 * The block starts, in the order in which they are tried. Each takes the parser, the innermost block that continues and
 * the line; it returns the block that begins there, or null.
 */
export const STARTS = [startQuote, startHeading, startCode, startHtml, startMath, startTable, startSetext, startRule, startFootnote, startItem, startIndented];

const toEnd = (line) => line.skip(line.text.length - line.at);

function startQuote(parser, _, line) {
  if (line.isIndented || line.content[0] !== ">") return null;
  parser.closeUnmatched();
  line.skipIndent().skip(1).skipMarkerSpace();
  return parser.add("quote", { children: [] });
}

function startHeading(parser, _, line) {
  const heading = !line.isIndented && HEADING.exec(line.content);
  if (!heading) return null;
  parser.closeUnmatched();
  const text = line.content.slice(heading[0].length).replace(/^[ \t]*#+[ \t]*$/, "").replace(/[ \t]+#+[ \t]*$/, "").trim();
  toEnd(line);
  return parser.add("heading", { level: heading[1].length, text });
}

function startCode(parser, _, line) {
  const fence = !line.isIndented && FENCE.exec(line.content);
  if (!fence) return null;
  parser.closeUnmatched();
  const info = line.content.slice(fence[0].length).trim();
  const { indent } = line;
  toEnd(line);
  return parser.add("code", { fence: fence[0], indent, info, lines: [], fresh: true });
}

function startHtml(parser, container, line) {
  if (line.isIndented || line.content[0] !== "<") return null;
  const kind = HTML.findIndex(([begins]) => begins.test(line.content));
  if (kind < 0) return null;
  const lazy = !parser.allClosed && parser.tip.type === "paragraph";
  if (kind === 6 && (lazy || container.type === "paragraph" || container.type === "table")) return null;
  parser.closeUnmatched();
  return parser.add("html", { ends: HTML[kind][1], lines: [] });
}

function startMath(parser, _, line) {
  const math = !line.isIndented && MATH.exec(line.content);
  if (!math) return null;
  const [open] = math;
  const close = open === "$$" ? "$$" : open === "\\[" ? "\\]" : open.replace("begin", "end");
  const keep = open.startsWith("\\b");
  const inner = line.content.slice(open.length);
  const stop = inner.indexOf(close);
  // "\\[a](b)" is an escaped bracket unless a later line holds "\\]".
  if (stop < 0 && open === "\\[" && inner.includes("]") && parser.lastWith(close) <= parser.number) return null;
  // A one-line formula with text after it belongs to a paragraph; an empty one is not a formula.
  if (stop >= 0 && (!/^[ \t.,;:]*$/.test(inner.slice(stop + close.length)) || inner.slice(0, stop).trim() === "")) return null;
  parser.closeUnmatched();
  line.skipIndent();
  if (!keep) line.skip(open.length);
  return parser.add("math", { open, close, from: keep ? open.length : 0, lines: [], finished: false });
}

function startTable(parser, container, line) {
  if (line.isIndented || container.type !== "paragraph" || !parser.allClosed || !isDelimiterRow(line.content)) return null;
  const head = container.lines[container.lines.length - 1];
  const align = alignments(line.content);
  if (!head.includes("|") || cells(head).length !== align.length) return null;
  container.lines.pop();
  const { length } = container.lines;
  parser.close(container, parser.number - 2);
  if (length === 0 && container.parent.children.includes(container)) removeBlock(container);
  toEnd(line);
  return Object.assign(parser.add("table", { align, head, rows: [] }), { start: parser.number - 1 });
}

function startSetext(parser, container, line) {
  const setext = !line.isIndented && container.type === "paragraph" && parser.allClosed && SETEXT.exec(line.content);
  if (!setext) return null;
  takeDefinitions(container, parser.refs);
  if (container.lines.length === 0) return null;
  const text = container.lines.map((l) => l.trim()).join("\n");
  toEnd(line);
  return Object.assign(container, { type: "heading", level: setext[1][0] === "=" ? 1 : 2, text });
}

function startRule(parser, _, line) {
  if (line.isIndented || !RULE.test(line.content)) return null;
  parser.closeUnmatched();
  toEnd(line);
  return parser.add("rule", {});
}

function startFootnote(parser, _, line) {
  const footnote = !line.isIndented && FOOTNOTE.exec(line.content);
  if (!footnote) return null;
  parser.closeUnmatched();
  line.skipIndent().skip(footnote[0].length);
  return parser.add("footnote", { label: footnote[1], children: [] });
}

function startItem(parser, container, line) {
  const marker = !line.isIndented && MARKER.exec(line.content);
  if (!marker) return null;
  const number = marker[2] === undefined ? null : Number.parseInt(marker[2], 10);
  // A paragraph is not interrupted by an empty item or by a number other than 1.
  if (container.type === "paragraph" && (line.content.slice(marker[0].length).trim() === "" || (number !== null && number !== 1))) return null;
  parser.closeUnmatched();
  const offset = line.indent;
  line.skipIndent().skip(marker[0].length);
  const gap = line.blank || line.indent > 4 || line.indent < 1 ? 1 : line.indent;
  line.skipColumns(Math.min(gap, line.indent));
  const kind = marker[1] ?? marker[3];
  if (parser.tip.type !== "list" || parser.tip.kind !== kind) parser.add("list", { kind, ordered: number !== null, first: number ?? 1, children: [] });
  return parser.add("item", { width: offset + marker[0].length + gap, offset, ordered: number !== null, gap: false, children: [] });
}

function startIndented(parser, container, line) {
  if (!line.isIndented || line.blank || parser.tip.type === "paragraph" || container.type === "table") return null;
  parser.closeUnmatched();
  line.skipColumns(4);
  return parser.add("code", { fence: null, info: "", lines: [] });
}
