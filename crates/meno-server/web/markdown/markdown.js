// Renders Markdown as nodes of vnode.js: CommonMark; GFM's tables, task lists, strikethrough and footnotes; TeX between
// dollars, \( \) or \[ \]. Raw HTML is shown as text.

import { parseBlocks } from "./blocks.js";
import { normalizeLabel } from "./links.js";
import { renderBlock, renderFootnotes } from "./render-blocks.js";

let views = 0;

/**
 * Renders a growing text and reuses the nodes of blocks that did not change.
 * `options.breaks` keeps line breaks (for thoughts, which models do not write as Markdown).
 */
export class MarkdownView {
  constructor(options = {}) {
    this.options = options;
    this.id = `note-${(views += 1)}`;
    this.blocks = new Map();
  }

  /** Renders `source`; `open` is true while it is still streaming. */
  render(source, open = false) {
    const lines = source.replace(/\r\n?/g, "\n").replace(/\0/g, "\ufffd").split("\n");
    const refs = new Map();
    const blocks = parseBlocks(lines, refs);
    const notes = collectFootnotes(blocks, source, this.id);
    // A link definition or a footnote can change how any other block renders.
    const shared = refs.size + notes.size > 0 ? JSON.stringify([[...refs], [...notes.keys()]]) : "";
    const context = { ...this.options, refs, notes };
    const kept = new Map();
    const out = [];
    blocks.forEach((block, i) => {
      if (block.type === "footnote") return;
      const last = open && i === blocks.length - 1;
      const key = `${block.type}${last}\n${lines.slice(block.start, blocks[i + 1]?.start ?? lines.length).join("\n").trimEnd()}\n${shared}`;
      const node = (notes.size === 0 && this.blocks.get(key)) || renderBlock(block, { ...context, open: last });
      kept.set(key, node);
      out.push(node);
    });
    this.blocks = kept;
    const ends = [...notes.values()].filter((note) => note.block);
    return ends.length > 0 ? [...out, renderFootnotes(ends, { ...context, open: open && blocks[blocks.length - 1].type === "footnote" })] : out;
  }
}

// Collects the footnotes, numbered in order of their first reference; unreferenced ones come last.
function collectFootnotes(blocks, source, prefix) {
  const found = new Map();
  const look = (all) => {
    for (const block of all) {
      if (block.type === "footnote" && !found.has(normalizeLabel(block.label))) found.set(normalizeLabel(block.label), block);
      if (block.children) look(block.children);
    }
  };
  look(blocks);
  const notes = new Map();
  if (found.size === 0) return notes;
  const add = (label) => {
    if (found.has(label) && !notes.has(label)) notes.set(label, { number: notes.size + 1, id: `${prefix}-${notes.size + 1}`, block: found.get(label), seen: false });
  };
  for (const [, label] of source.matchAll(/\[\^([^\]\s[]{1,64})\](?!:)/g)) add(normalizeLabel(label));
  for (const label of found.keys()) add(label);
  return notes;
}

/** Renders a complete text. */
export function renderMarkdown(source, options = {}) {
  return new MarkdownView(options).render(source, options.open ?? false);
}
