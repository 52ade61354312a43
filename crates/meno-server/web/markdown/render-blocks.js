// Renders blocks as nodes of vnode.js. Each block of text takes its direction (dir="auto") from its first letters.

import { h } from "../vnode.js";
import { renderMath } from "../math/math.js";
import { unescapeText } from "./entities.js";
import { highlight } from "./highlight.js";
import { boxEnd, renderInline } from "./inline.js";
import { cells } from "./tables.js";

/** Renders a block. `context.open` is true while the end of the block is still streaming. */
export function renderBlock(block, context) {
  const inline = (text, last = true) => renderInline(text, { ...context, open: context.open && last });
  switch (block.type) {
    case "heading": return h(`h${block.level}`, { dir: "auto" }, inline(block.text));
    case "paragraph": return renderParagraph(paragraphText(block), inline);
    case "rule": return h("hr");
    case "code": return renderCode(block);
    case "html": return h("p", { class: "raw", dir: "auto" }, block.lines.join("\n").replace(/\n+$/, ""));
    case "math": return renderMath(block.lines.join("\n").replace(block.finished ? "" : /\$$/, ""), true, !block.finished && context.open);
    case "quote": return h("blockquote", { dir: "auto" }, renderBlocks(block.children, context));
    case "list": return renderList(block, context);
    case "table": return renderTable(block, inline);
    default: throw new Error(`unknown block type: ${block.type}`);
  }
}

/** Renders consecutive blocks, except footnotes, which come at the end of the text. */
function renderBlocks(blocks, context) {
  const shown = blocks.filter((block) => block.type !== "footnote");
  return shown.map((block, i) => renderBlock(block, { ...context, open: context.open && i === shown.length - 1 }));
}

function paragraphText(block) {
  return block.lines.join("\n").replace(/[ \t]+$/, "");
}

// A line that holds only \boxed{…} is a displayed formula.
function renderParagraph(text, inline) {
  if (text[0] === "\\" && boxEnd(text, 0) === text.length) return renderMath(text, true);
  return h("p", { dir: "auto" }, inline(text));
}

function renderCode(block) {
  const info = unescapeText(block.info);
  const language = info.replace(/^\{\.?|\}$/g, "").split(/[\s,{:]/)[0];
  const parts = highlight(block.lines.join("\n"), language.toLowerCase()).map(([kind, text]) => (kind ? h("span", { class: `t-${kind}` }, text) : text));
  return h("figure", { class: "code", dir: "ltr" },
    h("figcaption", null, h("span", null, language || "text"), h("button", { type: "button", "data-copy": "code" }, "Copy")),
    h("pre", { tabindex: "0", role: "region", "aria-label": `Code${language ? `, ${language}` : ""}` }, h("code", null, parts)));
}

function renderList(block, context) {
  const items = block.children.map((item, i) => renderItem(item, block.loose, { ...context, open: context.open && i === block.children.length - 1 }));
  const start = block.ordered && block.first !== 1 ? String(block.first) : null;
  return h(block.ordered ? "ol" : "ul", start ? { start, dir: "auto" } : { dir: "auto" }, items);
}

const TASK = /^\[([ xX])\][ \t]+/;

function renderItem(item, loose, context) {
  const [first] = item.children;
  const task = first?.type === "paragraph" ? TASK.exec(first.lines[0]) : null;
  const children = renderBlocks(task ? [{ ...first, lines: [first.lines[0].slice(task[0].length), ...first.lines.slice(1)] }, ...item.children.slice(1)] : item.children, context);
  const inside = children.flatMap((node) => (!loose && node.tag === "p" && node.attrs.class !== "raw" ? node.children : [node]));
  const box = task && h("input", { type: "checkbox", disabled: true, checked: task[1] !== " ", "aria-label": task[1] === " " ? "to do" : "done" });
  return h("li", task ? { class: "task" } : null, box, inside);
}

function renderTable({ align, head, rows }, inline) {
  const cell = (tag, text, column, last) => h(tag, { class: align[column] ?? null, dir: "auto" }, inline(text, last));
  const row = (tag, texts, last) => h("tr", null, align.map((_, i) => cell(tag, texts[i] ?? "", i, last && i === texts.length - 1)));
  const read = (line) => cells(line, align.length);
  return h("div", { class: "table", tabindex: "0", role: "region", "aria-label": "Table" },
    h("table", null, h("thead", null, row("th", read(head), rows.length === 0)),
      rows.length > 0 && h("tbody", null, rows.map((line, i) => row("td", read(line), i === rows.length - 1)))));
}

/** Renders the footnotes as a list; each links back to its reference. */
export function renderFootnotes(notes, context) {
  const items = notes.map((note) => {
    const inside = renderBlocks(note.block.children, context);
    const back = note.seen && h("a", { class: "note-back", href: `#${note.id}-mark`, "data-jump": `${note.id}-mark`, "aria-label": "Back to the text" }, "↩\ufe0e");
    const last = inside[inside.length - 1];
    const body = back && last?.tag === "p" ? [...inside.slice(0, -1), h("p", last.attrs, last.children, " ", back)] : [...inside, back].filter(Boolean);
    return h("li", { id: note.id, tabindex: "-1" }, body);
  });
  return h("section", { class: "notes", role: "doc-endnotes", "aria-label": "Footnotes" }, h("ol", { dir: "auto" }, items));
}
