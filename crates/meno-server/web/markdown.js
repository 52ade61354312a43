// Markdown as models write it (CommonMark's blocks, GFM's tables and task lists, TeX between $$ or \[ \]) to nodes of
// vnode.js. Lists may be indented by two spaces under "1.", as models do; raw HTML is shown, not obeyed.

import { h } from "./vnode.js";
import { renderInline } from "./inline.js";
import { renderMath } from "./math.js";
import { highlight } from "./highlight.js";

const FENCE = /^ {0,3}(`{3,}(?=[^`]*$)|~{3,})[ \t]*(.*?)[ \t]*$/;
const HEADING = /^ {0,3}(#{1,6})(?:[ \t]+(.*?))??(?:[ \t]+#+)?[ \t]*$/;
const RULE = /^ {0,3}([-*_])(?:[ \t]*\1){2,}[ \t]*$/;
const QUOTE = /^ {0,3}>/;
const ITEM = /^( {0,3})([-*+]|\d{1,9}[.)])(?:([ \t]+)(.*)|$)/;
const SETEXT = /^ {0,3}(=+|-+)[ \t]*$/;
const DEFINITION = /^ {0,3}\[([^\]^][^\]]*)\]:[ \t]+<?([^\s>]+)>?(?:[ \t]+["'(](.*)["')])?[ \t]*$/;
const TABLE_RULE = /^ {0,3}\|?[ \t]*:?-+:?[ \t]*(?:\|[ \t]*:?-+:?[ \t]*)*\|?[ \t]*$/;
const MATH_OPEN = /^ {0,3}(\$\$|\\\[|\\begin\{(?:equation|align|alignat|gather|multline|eqnarray|cases|[pbBvV]?matrix)\*?\})/;
const BLANK = /^[ \t]*$/;
const MAX_DEPTH = 24; // of quotes and lists inside each other; deeper is shown as text

/**
 * Keeps the blocks of a growing text, so that only those that changed are parsed and drawn again.
 * `options.breaks` keeps line ends (for thoughts, which models do not write as Markdown).
 */
export class MarkdownView {
  constructor(options = {}) {
    this.options = options;
    this.blocks = new Map();
  }

  /** The nodes of `source`; `open` says that it is still being written. */
  render(source, open = false) {
    const lines = source.replace(/\r\n?/g, "\n").replace(/\0/g, "\ufffd").split("\n").map(expandTabs);
    const refs = new Map();
    const raw = scan(lines, 0, refs);
    const kept = new Map();
    const out = [];
    raw.forEach((block, index) => {
      const last = open && index === raw.length - 1;
      const key = `${block.type}${last}\n${block.lines.join("\n")}`;
      // A definition may change what any other block means.
      const node = (refs.size === 0 && this.blocks.get(key)) || draw(block, { ...this.options, refs, open: last, depth: 0 });
      kept.set(key, node);
      out.push(node);
    });
    this.blocks = kept;
    return out;
  }
}

/** The nodes of a finished text. */
export function renderMarkdown(source, options = {}) {
  return new MarkdownView(options).render(source, options.open ?? false);
}

// Tabs at the start of a line count as up to four spaces.
function expandTabs(line) {
  if (!/^ *\t/.test(line)) return line;
  const lead = /^[ \t]*/.exec(line)[0];
  let wide = "";
  for (const c of lead) wide += c === "\t" ? " ".repeat(4 - (wide.length % 4)) : " ";
  return wide + line.slice(lead.length);
}

// ---- blocks: which lines belong together ------------------------------------------------------------------------

function scan(lines, depth, refs) {
  const blocks = [];
  let at = 0;
  while (at < lines.length) {
    if (BLANK.test(lines[at])) {
      at += 1;
      continue;
    }
    const block = depth < MAX_DEPTH ? scanBlock(lines, at, refs) : paragraph(lines, at, MAX_DEPTH);
    block.lines = lines.slice(at, block.end);
    block.from = at;
    if (block.type !== "definition") blocks.push(block);
    at = block.end;
  }
  return blocks;
}

function scanBlock(lines, at, refs) {
  const line = lines[at];
  if (/^ {4}/.test(line)) return indentedCode(lines, at);
  const fence = FENCE.exec(line);
  if (fence) return fencedCode(lines, at, fence);
  const heading = HEADING.exec(line);
  if (heading) return { type: "heading", level: heading[1].length, text: heading[2] ?? "", end: at + 1 };
  const math = MATH_OPEN.exec(line) && mathBlock(lines, at);
  if (math) return math;
  if (RULE.test(line)) return { type: "rule", end: at + 1 };
  if (QUOTE.test(line)) return quote(lines, at);
  if (ITEM.test(line)) return list(lines, at);
  if (startsTable(lines, at)) return table(lines, at);
  const definition = DEFINITION.exec(line);
  if (definition) {
    const label = definition[1].trim().toLowerCase();
    if (!refs.has(label)) refs.set(label, { url: definition[2], title: definition[3] });
    return { type: "definition", end: at + 1 };
  }
  return paragraph(lines, at, 0);
}

/** Whether a line ends the paragraph before it. */
function interrupts(lines, at) {
  const line = lines[at];
  if (FENCE.test(line) || HEADING.test(line) || RULE.test(line) || QUOTE.test(line)) return true;
  if (MATH_OPEN.test(line)) return mathBlock(lines, at) !== null;
  const item = ITEM.exec(line);
  if (item) return Boolean(item[4]) && (!/\d/.test(item[2]) || Number.parseInt(item[2], 10) === 1);
  return startsTable(lines, at);
}

function paragraph(lines, at, depth) {
  let end = at + 1;
  while (end < lines.length && !BLANK.test(lines[end])) {
    const setext = depth === 0 && SETEXT.exec(lines[end]);
    if (setext) {
      const text = lines.slice(at, end).map((l) => l.trim()).join("\n");
      return { type: "heading", level: setext[1][0] === "=" ? 1 : 2, text, end: end + 1 };
    }
    if (depth < MAX_DEPTH && interrupts(lines, end)) break;
    end += 1;
  }
  return { type: "paragraph", text: lines.slice(at, end).map((l) => l.replace(/^ +/, "")).join("\n").replace(/[ \t]+$/, ""), end };
}

function indentedCode(lines, at) {
  let end = at;
  for (let i = at; i < lines.length && (BLANK.test(lines[i]) || /^ {4}/.test(lines[i])); i += 1) {
    if (!BLANK.test(lines[i])) end = i + 1;
  }
  return { type: "code", language: "", text: lines.slice(at, end).map((l) => l.slice(4)).join("\n"), end };
}

function fencedCode(lines, at, [, marker, info]) {
  const indent = /^ */.exec(lines[at])[0].length;
  const close = new RegExp(`^ {0,3}\\${marker[0]}{${marker.length},}[ \\t]*$`);
  let end = at + 1;
  while (end < lines.length && !close.test(lines[end])) end += 1;
  const inner = lines.slice(at + 1, end).map((l) => l.slice(Math.min(indent, /^ */.exec(l)[0].length)));
  const language = info.replace(/^\{\.?|\}$/g, "").split(/[\s,{:]/)[0];
  return { type: "code", language, text: inner.join("\n"), end: Math.min(end + 1, lines.length) };
}

// A display formula that has its lines to itself; null where text follows its end, which the paragraph then handles.
function mathBlock(lines, at) {
  const open = MATH_OPEN.exec(lines[at])[1];
  const close = open === "$$" ? "$$" : open === "\\[" ? "\\]" : open.replace("begin", "end");
  const keep = open.startsWith("\\b");
  const first = lines[at].trimStart().slice(keep ? 0 : open.length);
  const collected = [];
  for (let i = at; i < lines.length; i += 1) {
    const text = i === at ? first : lines[i];
    if (i > at && BLANK.test(text) && open === "$$" && BLANK.test(collected.join(""))) return null;
    const stop = text.indexOf(close, 0);
    if (stop >= 0 && !(i === at && close === "$$" && BLANK.test(text.slice(0, stop)) && stop === 0)) {
      if (!/^[ \t.,;]*$/.test(text.slice(stop + close.length))) return null;
      collected.push(text.slice(0, stop) + (keep ? close : ""));
      return { type: "math", text: collected.join("\n"), end: i + 1 };
    }
    collected.push(text);
  }
  return { type: "math", text: collected.join("\n").replace(/\$$/, ""), unfinished: true, end: lines.length };
}

function quote(lines, at) {
  const inner = [];
  let end = at;
  for (; end < lines.length && !BLANK.test(lines[end]); end += 1) {
    if (QUOTE.test(lines[end])) inner.push(lines[end].replace(/^ {0,3}> ?/, ""));
    else if (end > at && !BLANK.test(inner[inner.length - 1]) && !interrupts(lines, end)) inner.push(lines[end]);
    else break;
  }
  return { type: "quote", inner, end };
}

function list(lines, at) {
  const [, , marker] = ITEM.exec(lines[at]);
  const ordered = /\d/.test(marker);
  const kind = ordered ? marker.slice(-1) : marker;
  const items = [];
  let loose = false;
  let end = at;
  while (end < lines.length) {
    const match = ITEM.exec(lines[end]);
    if (!match || RULE.test(lines[end]) || (/\d/.test(match[2]) ? match[2].slice(-1) : match[2]) !== kind) break;
    const item = listItem(lines, end, match);
    items.push(item.inner);
    end = item.end;
    let next = end;
    while (next < lines.length && BLANK.test(lines[next])) next += 1;
    if (next >= lines.length || next === end) continue;
    const following = ITEM.exec(lines[next]);
    if (!following || RULE.test(lines[next])) break;
    if ((/\d/.test(following[2]) ? following[2].slice(-1) : following[2]) !== kind) break;
    loose = true;
    end = next;
  }
  return { type: "list", ordered, start: ordered ? Number.parseInt(marker, 10) : 1, items, loose, end };
}

function listItem(lines, at, [, lead, marker, gap, rest]) {
  const width = lead.length + marker.length + (gap && rest && gap.length <= 4 ? gap.length : 1);
  const nested = lead.length + 2; // a marker this far in belongs to the item, whatever the width of "10. "
  const inner = [rest === undefined ? "" : (gap.length > 4 ? gap.slice(1) : "") + rest];
  let end = at + 1;
  let fence = FENCE.exec(inner[0])?.[1] ?? null;
  for (; end < lines.length; end += 1) {
    const line = lines[end];
    const indent = /^ */.exec(line)[0].length;
    if (BLANK.test(line)) {
      // Two blank lines do not end an item, but an item that begins with one is empty.
      if (inner.length === 1 && BLANK.test(inner[0])) break;
      inner.push("");
      continue;
    }
    const inside = indent >= width || (indent >= nested && (ITEM.test(line.slice(nested)) || BLANK.test(lines[end - 1]) || fence));
    const lazy = !BLANK.test(lines[end - 1]) && !fence && !ITEM.test(line) && !interrupts(lines, end);
    if (!inside && !lazy) break;
    const text = line.slice(Math.min(indent, width));
    inner.push(text);
    const mark = FENCE.exec(text);
    if (fence && mark && mark[1][0] === fence[0] && mark[1].length >= fence.length && mark[2] === "") fence = null;
    else if (!fence && mark) fence = mark[1];
  }
  while (inner.length > 1 && BLANK.test(inner[inner.length - 1])) {
    inner.pop();
    end -= 1;
  }
  return { inner, end };
}

// ---- tables -----------------------------------------------------------------------------------------------------

function startsTable(lines, at) {
  const rule = lines[at + 1];
  if (rule === undefined || !lines[at].includes("|") || !rule.includes("-") || !TABLE_RULE.test(rule)) return false;
  return cells(lines[at]).length === cells(rule).length;
}

function table(lines, at) {
  const align = cells(lines[at + 1]).map((c) => (c.endsWith(":") ? (c.startsWith(":") ? "center" : "right") : c.startsWith(":") ? "left" : null));
  const head = cells(lines[at], align.length);
  const rows = [];
  let end = at + 2;
  for (; end < lines.length && !BLANK.test(lines[end]); end += 1) {
    if (FENCE.test(lines[end]) || HEADING.test(lines[end]) || QUOTE.test(lines[end]) || (!lines[end].includes("|") && interrupts(lines, end))) break;
    rows.push(cells(lines[end], align.length));
  }
  return { type: "table", align, head, rows, end };
}

// Splits a row at its bars. Those inside code or a formula do not count, unless counting them gives the right width.
function cells(line, wanted) {
  const row = line.trim().replace(/^\|/, "").replace(/(^|[^\\])\|$/, "$1");
  const plain = split(row, /\\\||\|/g);
  if (plain.length === wanted || !/[`$]/.test(row)) return plain;
  const careful = split(row, /\\\||`[^`]*`|\$[^$\s](?:[^$]*[^$\s])?\$|\|/g);
  return careful.length <= (wanted ?? careful.length) ? careful : plain;
}

function split(row, pattern) {
  const out = [];
  let from = 0;
  for (const match of row.matchAll(pattern)) {
    if (match[0] !== "|") continue;
    out.push(row.slice(from, match.index));
    from = match.index + 1;
  }
  out.push(row.slice(from));
  return out.map((cell) => cell.trim().replace(/\\\|/g, "|"));
}

// ---- drawing ----------------------------------------------------------------------------------------------------

function draw(block, context) {
  const inline = (text, last = true) => renderInline(text, { ...context, open: context.open && last });
  switch (block.type) {
    case "heading": return h(`h${block.level}`, null, inline(block.text));
    case "paragraph": return h("p", null, inline(block.text));
    case "rule": return h("hr");
    case "code": return drawCode(block);
    case "math": return renderMath(block.text, true, block.unfinished && context.open);
    case "quote": return h("blockquote", null, drawAll(block.inner, context));
    case "list": return drawList(block, context);
    case "table": return drawTable(block, inline);
    default: throw new Error(`no such block: ${block.type}`);
  }
}

function drawAll(lines, context) {
  const blocks = scan(lines, context.depth + 1, context.refs);
  return blocks.map((block, i) => draw(block, { ...context, depth: context.depth + 1, open: context.open && i === blocks.length - 1 }));
}

function drawCode(block) {
  const name = block.language.toLowerCase();
  const parts = highlight(block.text, name).map(([kind, text]) => (kind ? h("span", { class: `t-${kind}` }, text) : text));
  return h("figure", { class: "code" },
    h("figcaption", null, h("span", null, block.language || "text"), h("button", { type: "button", "data-copy": "code" }, "Copy")),
    h("pre", { tabindex: "0", "aria-label": `Code${block.language ? `, ${block.language}` : ""}` }, h("code", null, parts)));
}

function drawList(block, context) {
  const read = block.items.map((inner) => {
    const task = /^\[([ xX])\][ \t]+/.exec(inner[0]);
    const lines = task ? [inner[0].slice(task[0].length), ...inner.slice(1)] : inner;
    return { task, lines, scanned: scan(lines, context.depth + 1, context.refs) };
  });
  const loose = block.loose || read.some(({ lines, scanned }) => scanned.some((b, j) => j > 0 && BLANK.test(lines[b.from - 1])));
  const items = read.map(({ task, scanned }, i) => {
    const open = context.open && i === block.items.length - 1;
    const children = scanned.flatMap((b, j) => {
      const inside = { ...context, depth: context.depth + 1, open: open && j === scanned.length - 1 };
      return b.type === "paragraph" && !loose ? renderInline(b.text, inside) : [draw(b, inside)];
    });
    const box = task && h("input", { type: "checkbox", disabled: true, checked: task[1] !== " ", "aria-label": task[1] === " " ? "to do" : "done" });
    return h("li", task ? { class: "task" } : null, box, children);
  });
  const start = block.ordered && block.start !== 1 ? String(block.start) : null;
  return h(block.ordered ? "ol" : "ul", start ? { start } : null, items);
}

function drawTable({ align, head, rows }, inline) {
  const cell = (tag, text, column, last) => h(tag, align[column] ? { class: align[column] } : null, inline(text, last));
  const row = (tag, texts, last) => h("tr", null, align.map((_, i) => cell(tag, texts[i] ?? "", i, last && i === texts.length - 1)));
  return h("div", { class: "table", tabindex: "0", role: "region", "aria-label": "Table" },
    h("table", null, h("thead", null, row("th", head, rows.length === 0)),
      rows.length > 0 && h("tbody", null, rows.map((texts, i) => row("td", texts, i === rows.length - 1)))));
}
